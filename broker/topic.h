#pragma once
/* The topic table: what config/topics.json holds and name servers are told.
 *
 * Threads: reads from any thread (one small lock); changes and the file on the service loop.
 * Handlers on network loops that need a topic which does not exist use ensure_then (ensure.h). */
#include "base/clock.h"
#include "base/json.h"
#include "proto/body.h"
#include "proto/message.h"
#include "proto/names.h"

struct broker;
struct topics; /* opaque */

struct topic_info { /* a copy */
    int32_t read_queue_nums, write_queue_nums, perm, sys_flag;
    bool order, multi_tags;
};
struct topic_spec { /* what to create */
    struct slice name;
    struct topic_info info;
    const json_t *attributes; /* NULL: keep or none */
};

struct topics *topics_new(size_t max);
void topics_free(struct topics *t);
bool topics_get(const struct topics *t, struct slice name, struct topic_info *out);
size_t topics_count(const struct topics *t);
/* What a send with `default_topic` would create, without creating it. E_NOTFOUND: the default topic
 * does not exist or does not let others inherit (the answer is then 17); E_INVAL: bad name.
 * Source: TopicConfigManager.createTopicInSendMessageMethod of 5.5.0. */
int topics_template(const struct topics *t, struct slice name, struct slice default_topic,
                    int32_t default_queue_nums, bool unit_mode, struct topic_spec *out,
                    struct err *e) HP_MUST_USE;
/* A retry or dead-letter topic (%RETRY%g, %DLQ%g): read and write permission. */
struct topic_spec topic_spec_plain(struct slice name, int32_t queues, bool unit_mode);

/* --- service loop --- */
/* Creates or changes; bumps the data version when something changed, and marks the table dirty.
 * E_INVAL (name, queue counts, perm), E_BUSY (the limit), E_NOMEM. *changed may be NULL. */
int topics_put(struct topics *t, const struct topic_spec *spec, const struct clock *clock,
               bool *changed, struct err *e) HP_MUST_USE;
bool topics_dirty(const struct topics *t);
int topics_to_json(struct topics *t, json_t **out) HP_MUST_USE; /* topics.json; clears dirty */
void topics_mark_dirty(struct topics *t); /* the file could not be written */
int topics_from_json(struct topics *t, const json_t *j, struct err *e) HP_MUST_USE;
struct data_version topics_version(const struct topics *t);
/* The 103 body; permissions masked with broker_perm. */
int topics_register_body(const struct topics *t, int32_t broker_perm, struct buf *out) HP_MUST_USE;
