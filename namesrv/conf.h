#pragma once
/* The name server's configuration: RocketMQ's keys (namesrv/conf.def) from a properties file. */
#include "base/conf.h"

struct namesrv_conf {
#define CONF_DEF "namesrv/conf.def"
#define CONF_FIELDS
#include "base/conf_def.h"
};
extern const struct conf_table namesrv_conf_table;

/* Defaults, then the file (NULL: none). Errors say file, line, key and what would be right; `note`
 * gets one line about each unknown or ignored key. `c` must be zeroed. */
int namesrv_conf_load(struct namesrv_conf *c, const char *path, void (*note)(void *arg, const char *text),
                      void *arg, struct err *e) HP_MUST_USE;
void namesrv_conf_free(struct namesrv_conf *c);
