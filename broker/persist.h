#pragma once
/* The files of config/: RocketMQ's file names, shapes and .bak protocol. Service loop, or before it
 * runs. */
#include "base/json.h"

struct broker;

/* Loads config/<name>. A missing file and no backup: *out NULL, 0. A file that is empty or does not
 * parse: the backup is taken and a warning logged; without a usable backup E_CORRUPT: the broker
 * must not start with a table that was silently emptied. */
int persist_load(struct broker *b, const char *name, json_t **out, struct err *e) HP_MUST_USE;
/* Replaces it atomically and durably, the previous content becomes <name>.bak. Takes j (also on
 * failure). */
int persist_save(struct broker *b, const char *name, json_t *j, struct err *e) HP_MUST_USE;

/* Topics, groups, offsets: all at start; what changed at a tick or after a change. */
int persist_load_tables(struct broker *b, struct err *e) HP_MUST_USE;
int persist_save_topics(struct broker *b, struct err *e) HP_MUST_USE;  /* nothing when clean */
int persist_save_groups(struct broker *b, struct err *e) HP_MUST_USE;
int persist_save_offsets(struct broker *b, struct err *e) HP_MUST_USE;
