#pragma once
/* The program's log: one line per event, `<UTC time> <LEVEL> <thread> event=<name> key=value ...`.
 * Thread-safe. Event names are static; identical events are rate-limited (a burst of 20, then one
 * line a second per event with the number suppressed). No payloads, no secrets. */
#include "base/err.h"
#include "base/slice.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

/* Appends to `path` (NULL = stderr), created with its directories. Rotates at max_bytes
 * (0 = never) to path.1 .. path.N. May be called again to reopen. */
int log_open(const char *path, uint64_t max_bytes, int files_max, struct err *e) HP_MUST_USE;
void log_close(void);
void log_set_level(enum log_level level);
int log_level_parse(struct slice s, enum log_level *out); /* "debug" .. "error"; E_INVAL */
void log_set_thread_name(const char *name); /* of the calling thread; at most 15 characters */

/* fmt gives the key=value part. Strings from peers go through log_quote. */
void log_event(enum log_level level, const char *event, const char *fmt, ...) HP_PRINTF(3, 4);
#define LOGD(event, ...) log_event(LOG_DEBUG, event, __VA_ARGS__)
#define LOGI(event, ...) log_event(LOG_INFO, event, __VA_ARGS__)
#define LOGW(event, ...) log_event(LOG_WARN, event, __VA_ARGS__)
#define LOGE(event, ...) log_event(LOG_ERROR, event, __VA_ARGS__)

/* Makes bytes from a peer safe for one log line: quotes, escapes control bytes, cuts at cap - 4
 * with "...". Returns dst. */
const char *log_quote(struct slice s, char *dst, size_t cap);
