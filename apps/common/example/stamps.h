#pragma once
/* The smallest complete consumer: a card with a stamp for every payment. To be copied; no part of the shop. */
#include "apps/common/app.h"

struct stamps {
    struct mq *mq;
    struct inbox inbox;
};
/* Fills *s; its inbox is ready to be registered or called. */
void stamps_init(struct stamps *s, struct db *db, struct mq *mq, struct metrics *metrics);
