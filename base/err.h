#pragma once
/* Error codes and the error context that climbs with them.
 *
 * A fallible function returns 0 or a negative E_*. Where context matters its last parameter is a
 * `struct err *`, which may be NULL; it is written only on failure. Nobody allocates on an error
 * path. An ignored result does not compile (HP_MUST_USE). */
#include <stdarg.h>

#define HP_MUST_USE __attribute__((warn_unused_result))
#define HP_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

enum {
#define ERR(name, value, class, text) name = (value),
#include "base/errors.def"
#undef ERR
};

enum err_class { ERR_RETRY, ERR_CALLER, ERR_CORRUPT, ERR_BUSY, ERR_SYSTEM, ERR_BUG };

struct err {
    int code;       /* E_*; 0 while nothing failed */
    int sys_errno;  /* errno of the system call that failed, or 0 */
    char text[256]; /* what failed, outermost context first; always NUL-terminated */
};

const char *err_name(int code);          /* "E_IO"; "E_?" for an unknown code */
const char *err_text(int code);          /* "input/output error" */
enum err_class err_class_of(int code);

/* Sets code and text (truncated to fit), returns code, so that `return err_set(e, E_X, ...)`. */
int err_set(struct err *e, int code, const char *fmt, ...) HP_PRINTF(3, 4);
/* The same from the current errno: maps it to E_NOSPC, E_NOTFOUND, E_EXISTS, E_DENIED, E_NOMEM,
 * E_TIMEOUT, E_CONNECT or E_IO and appends ": <strerror>". Call it at the system-call edge only. */
int err_sys(struct err *e, int sys_errno, const char *fmt, ...) HP_PRINTF(3, 4);
/* Prefixes the text with "<context>: ". Returns e->code (E_INVAL when e is NULL is never needed:
 * pass the code you have). */
int err_wrap(struct err *e, int code, const char *fmt, ...) HP_PRINTF(3, 4);

/* A bug in this program: reports file, line and text on stderr and aborts, in release builds too.
 * A crash is repaired by replaying the log; a bad record is not. Never for peer input. */
_Noreturn void mq_panic(const char *file, int line, const char *fmt, ...) HP_PRINTF(3, 4);
#define MQ_ASSERT(cond)                                                                            \
    (__builtin_expect(!!(cond), 1) ? (void)0 : mq_panic(__FILE__, __LINE__, "assertion failed: %s", #cond))
