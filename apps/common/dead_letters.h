#pragma once
/* Dead letters of a service's consumer groups: kept, counted, looked at, replayed or dropped.
 *
 * What a group gives up lands in the broker's %DLQ%<group>. One consumer of the service reads all of its
 * groups' dead-letter topics into table mq_dead_letter of the service's schema, where they outlive the
 * broker's retention. A replay sends the body with tag and key to %RETRY%<group>, so that the group that
 * failed sees it and nobody else does. It is safe at any time: a failed delivery has left no inbox row, a
 * consumed one is a duplicate. */
#include "apps/common/db.h"
#include "apps/common/http_server.h"

struct mq;

struct dead_letter {
    const char *group, *tag, *key, *msg_id,
        *traceparent; /* NULL allowed but for group and msg_id */
    const void *body;
    size_t body_len;
    int reconsume_times, replays;
};
/* Stores it once. *fresh: it was not there. */
int dead_letter_keep(struct db *db, const struct dead_letter *l, bool *fresh,
                     struct app_error *e) APP_CHECK;

struct dead_letters { /* what the routes work on */
    struct db *db;
    struct mq *mq;
};
/* On the internal port; their argument is a struct dead_letters:
 *   POST /admin/dead-letters/{id}/replay            200 {group, key}; 404; 409 dropped before
 *   POST /admin/dead-letters/{id}/drop {reason}     200; 404; 409 not open any more */
extern const struct http_route dead_letter_routes[];
