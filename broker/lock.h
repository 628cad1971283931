#pragma once
/* Queue locks of orderly consumers: (group, topic, broker, queue) -> client, for 60 s after its
 * last lock request. Threads: any (one small lock). Source: RebalanceLockManager of 5.5.0. */
#include "base/clock.h"
#include "proto/body.h"

enum { LOCK_LIVE_MS = 60 * 1000 };

struct locks; /* opaque */

struct locks *locks_new(const struct clock *clock, size_t max);
void locks_free(struct locks *l);
/* Takes or renews; false: another live owner, or the table is full. */
bool locks_take(struct locks *l, struct slice group, const struct mq_ref *q,
                struct slice client_id);
void locks_release(struct locks *l, struct slice group, const struct mq_ref *q,
                   struct slice client_id);
/* Whether the group holds any unexpired lock. */
bool locks_group_live(const struct locks *l, struct slice group);
void locks_expire(struct locks *l);
size_t locks_count(const struct locks *l);
