#pragma once
/* One line per event on stderr or a file:
 *   2026-01-31T23:59:59.123Z INFO  [stock] event=try_refused order_id=17 code=20003
 * Values with blanks or quotes are quoted and escaped, so a line can always be split again. Never log
 * secrets or message bodies: ids and sizes only. A warning or error event that repeats is limited to
 * 20 lines a second per event name; the next second tells how many were dropped. */
#include "apps/common/error.h"

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR };

/* path NULL or "-": stderr. name: the service, e.g. "stock". Process-wide, like stderr itself. */
int app_log_open(const char *path, const char *name, enum log_level min,
                 struct app_error *e) APP_CHECK;
void app_log_close(void);
/* Reopens the file, for log rotation (SIGHUP). */
void app_log_reopen(void);

/* fields: printf format of "key=value key=value"; use app_log_value for text from outside. */
void app_log_event(enum log_level level, const char *event, const char *fields, ...)
    APP_PRINTF(3, 4);
#define log_debug(...) app_log_event(LOG_LEVEL_DEBUG, __VA_ARGS__)
#define log_info(...) app_log_event(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_warn(...) app_log_event(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_error(...) app_log_event(LOG_LEVEL_ERROR, __VA_ARGS__)

/* Quotes s when needed into a thread-local ring of 8 buffers (256 bytes each, truncated). */
const char *app_log_value(const char *s);
