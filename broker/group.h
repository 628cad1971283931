#pragma once
/* Subscription groups: what config/subscriptionGroup.json holds. Threads: as topic.h. */
#include "base/clock.h"
#include "base/json.h"
#include "proto/body.h"
#include "proto/names.h"

struct groups; /* opaque */

struct group_info { /* a copy */
    bool consume_enable, consume_broadcast_enable, notify_changes;
    int32_t retry_queue_nums, retry_max_times, sys_flag;
    int64_t broker_id;
};

struct groups *groups_new(size_t max);
void groups_free(struct groups *g);
bool groups_get(const struct groups *g, struct slice name, struct group_info *out);
size_t groups_count(const struct groups *g);
/* Whether reading the topic is forbidden to the group (forbiddenTable). */
bool groups_forbid_read(const struct groups *g, struct slice group, struct slice topic);

/* --- service loop --- */
/* With upstream's defaults, unless it exists. E_INVAL (name), E_BUSY (the limit), E_NOMEM. */
int groups_create(struct groups *g, struct slice name, const struct clock *clock,
                  struct err *e) HP_MUST_USE;
int groups_put(struct groups *g, const struct group_config *c, const struct clock *clock,
               struct err *e) HP_MUST_USE;
bool groups_dirty(const struct groups *g);
int groups_to_json(struct groups *g, json_t **out) HP_MUST_USE; /* clears dirty */
void groups_mark_dirty(struct groups *g);
int groups_from_json(struct groups *g, const json_t *j, struct err *e) HP_MUST_USE;
