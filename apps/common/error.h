#pragma once
/* Results of the kit's functions and the error that climbs with them.
 *
 * A fallible function returns APP_OK (0) or a negative APP_E_*. The last parameter, where there is
 * one, receives the story; it may be NULL and is written only on failure. Four kinds matter, because
 * callers treat them differently:
 *   refused   a business "no": final, nothing happened, `code` is a CODE_* for the client
 *   transient try again later; nothing happened
 *   unknown   the outcome is not known (a lost commit answer, a timed-out call): never guess
 *   bug/data  retrying cannot help
 */
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

#define APP_CHECK __attribute__((warn_unused_result))
#define APP_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

enum app_errno {
    APP_OK = 0,
    APP_E_REFUSED = -1, /* business refusal: app_error.code says which (codes.def) */
    APP_E_INVALID = -2, /* malformed input: the text names the member */
    APP_E_NOMEM = -3,
    APP_E_BUSY = -4, /* transient: a bound was reached (pool, queue), lock or statement timeout */
    APP_E_DOWN = -5, /* transient: database, broker or service cannot be reached; nothing sent */
    APP_E_TIMEOUT = -6,  /* unknown: no answer in time */
    APP_E_UNKNOWN = -7,  /* unknown: connection lost after the request (or COMMIT) was written */
    APP_E_CONFLICT = -8, /* a constraint refused the write (unique, check, illegal state edge) */
    APP_E_DB = -9,       /* the statement is wrong for this schema: a bug or a missing migration */
    APP_E_PROTO = -10,   /* a peer's answer makes no sense */
    APP_E_LATER = -11,   /* a consumer wants the message again later; roll back */
    APP_E_NOT_YET = -12, /* a consumer acted too early: roll back, emit, acknowledge (inbox.h) */
    APP_E_CONFIG = -13,  /* settings: the text names file, line and key */
    APP_E_CLOSED = -14,  /* shutting down */
    APP_E_IO = -15       /* a file or socket of our own */
};

struct app_error {
    int kind;         /* APP_E_*; 0 while nothing failed */
    int code;         /* CODE_* when kind is APP_E_REFUSED, else 0 */
    char sqlstate[6]; /* from PostgreSQL, else "" */
    char text[400];   /* what, where, what to do; outermost context first */
};

const char *app_errno_name(int kind); /* "APP_E_BUSY" */
/* BUSY, DOWN, LATER: the same call may succeed later and nothing has happened so far. */
bool app_is_transient(int kind);
/* TIMEOUT, UNKNOWN: it may have happened. */
bool app_is_unknown(int kind);

/* Sets kind and text (truncated to fit) and returns kind: `return app_fail(e, APP_E_X, "...")`. */
int app_fail(struct app_error *e, int kind, const char *fmt, ...) APP_PRINTF(3, 4);
int app_vfail(struct app_error *e, int kind, const char *fmt, va_list ap) APP_PRINTF(3, 0);
/* A business refusal with its code; returns APP_E_REFUSED. */
int app_refuse(struct app_error *e, int code, const char *fmt, ...) APP_PRINTF(3, 4);
/* Prefixes the text with "<context>: " and returns kind. */
int app_wrap(struct app_error *e, int kind, const char *fmt, ...) APP_PRINTF(3, 4);
void app_error_clear(struct app_error *e);

/* A broken promise inside this program: reports and aborts. Never for peer input. */
_Noreturn void app_panic(const char *file, int line, const char *what);
#define APP_ASSERT(cond)                                                                           \
    (__builtin_expect(!!(cond), 1) ? (void)0 : app_panic(__FILE__, __LINE__, #cond))
