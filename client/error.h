#pragma once
/* Filling the public error struct, and the client's own log. */
#include "base/err.h"
#include "halfpenny/types.h"

/* Sets code and text, broker_code to 0; returns code. err may be NULL. */
int error_set(struct hp_error *err, int code, const char *fmt, ...) HP_PRINTF(3, 4);
/* From an internal error: maps E_* to HP_E_*; the text is `what` and e's text. */
int error_from(struct hp_error *err, const struct err *e, int code, const char *what);
int public_code(int internal); /* E_* to HP_E_* */

struct client_log {
    void (*fn)(void *arg, enum hp_log_level level, const char *line);
    void *arg;
};
/* Any thread. Without a function, warnings and errors go to stderr. */
void client_logf(const struct client_log *log, enum hp_log_level level, const char *fmt, ...)
    HP_PRINTF(3, 4);
