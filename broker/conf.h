#pragma once
/* The broker's configuration: RocketMQ's keys (broker/conf.def), loaded from a properties file and
 * the command line. */
#include "base/conf.h"

enum { FLUSH_DISK_ASYNC = 0, FLUSH_DISK_SYNC = 1 }; /* flushDiskType, in the order of its names */

struct broker_conf {
#define CONF_DEF "broker/conf.def"
#define CONF_FIELDS
#include "base/conf_def.h"
};
extern const struct conf_table broker_conf_table;

enum { DELAY_LEVEL_MAX = 64 };

/* Defaults, then the file (NULL: none), then NAMESRV_ADDR of the environment where the file has no
 * namesrvAddr, then `namesrv` (the -n option; NULL: none); then computed defaults and checks over
 * several keys. Errors say file, line, key and what would be right. `note` gets one line about each
 * unknown or ignored key. `c` must be zeroed. */
int broker_conf_load(struct broker_conf *c, const char *path, const char *namesrv,
                     void (*note)(void *arg, const char *text), void *arg,
                     struct err *e) HP_MUST_USE;
/* The same without file and environment: for brokers embedded in tests. */
int broker_conf_defaults(struct broker_conf *c, struct err *e) HP_MUST_USE;
/* Fills what is computed (name, addresses, directories) and checks what spans several keys. */
int broker_conf_finish(struct broker_conf *c, struct err *e) HP_MUST_USE;
void broker_conf_free(struct broker_conf *c);
/* key=value lines; important: only the keys operators ask for first (-m). */
void broker_conf_print(const struct broker_conf *c, bool important, struct buf *out);

/* messageDelayLevel ("1s 5s 2m 1h 1d"): milliseconds by level, [0] is level 1. Returns how many
 * (1 .. DELAY_LEVEL_MAX) or E_INVAL. */
int delay_levels_parse(const char *text, int64_t out[DELAY_LEVEL_MAX], struct err *e) HP_MUST_USE;
