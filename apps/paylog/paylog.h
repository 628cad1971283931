#pragma once
/* paylog: the append-only journal of payment events (schema `plog`). It only listens: `paid` and
 * `refunded` each become one row and one acknowledgement. */
#include "apps/common/app.h"

struct paylog {
    struct mq *mq;
    struct inbox inbox;
};
/* Fills *p; its inbox is ready to be registered or called. */
void paylog_init(struct paylog *p, struct db *db, struct mq *mq, struct metrics *metrics);
