#pragma once
/* Consumer offsets: (topic, group, queue) -> next offset to consume; config/consumerOffset.json.
 * Threads: any (one small lock); the file on the service loop. */
#include "base/clock.h"
#include "base/json.h"
#include "proto/body.h"

struct offsets; /* opaque */

struct offsets *offsets_new(size_t max_pairs);
void offsets_free(struct offsets *o);
/* -1: none stored. */
int64_t offsets_get(const struct offsets *o, struct slice group, struct slice topic,
                    int32_t queue_id);
/* Last write wins, smaller values and -1 too. E_INVAL: negative queue id; E_BUSY: the limit;
 * E_NOMEM. */
int offsets_set(struct offsets *o, struct slice group, struct slice topic, int32_t queue_id,
                int64_t offset, struct err *e) HP_MUST_USE;
bool offsets_has_queue(const struct offsets *o, struct slice group, struct slice topic,
                       int32_t queue_id);
bool offsets_dirty(const struct offsets *o);
int offsets_to_json(struct offsets *o, const struct clock *clock,
                    json_t **out) HP_MUST_USE; /* clears dirty */
void offsets_mark_dirty(struct offsets *o);
int offsets_from_json(struct offsets *o, const json_t *j, struct err *e) HP_MUST_USE;
/* Lowers every offset that lies above the end of its queue to that end; returns how many. After a
 * power cut the end may be below what a group had committed: new messages come to lie there, and the
 * group would skip them. end_of runs under the lock. */
size_t offsets_limit(struct offsets *o, int64_t (*end_of)(void *arg, struct slice topic, int32_t queue_id),
                     void *arg);
