/* Error names, texts and the 256-byte context that climbs with an error.
 *
 * Runs on: any thread; nothing here is shared.
 *
 * Happy path: the function that meets the failure calls err_set (or err_sys at a system call), each
 * caller that knows something worth saying calls err_wrap, and the edge that absorbs the error logs
 * `text` once: "load consumer offsets: config/consumerOffset.json:3: ...".
 *
 * Failure modes: none. A text that does not fit is cut, never refused; where a reason stands at the
 * end (err_sys) or the inner text does (err_wrap), the context in front gives way first, because
 * the innermost words say what really happened.
 *
 * Invariants: 1. nothing allocates; 2. text is NUL-terminated after every call; 3. a NULL
 * context is legal everywhere and costs only the words; 4. arguments may point into the text being
 * replaced. */
#include "base/err.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    int code;
    enum err_class class;
    const char *name, *text;
} table[] = {
#define ERR(name, value, class, text) {name, ERR_##class, #name, text},
#include "base/errors.def"
#undef ERR
};
enum { TABLE_N = sizeof table / sizeof *table };

static int find(int code)
{
    for (int i = 0; i < TABLE_N; i++)
        if (table[i].code == code)
            return i;
    return -1;
}

const char *err_name(int code)
{
    int i = find(code);
    return i >= 0 ? table[i].name : code == 0 ? "OK" : "E_?";
}

const char *err_text(int code)
{
    int i = find(code);
    return i >= 0 ? table[i].text : code == 0 ? "success" : "unknown error";
}

enum err_class err_class_of(int code)
{
    int i = find(code);
    return i >= 0 ? table[i].class : ERR_BUG;
}

/* e->text = head + tail; what does not fit is cut from the end of the head. */
static void join(struct err *e, const char *head, const char *tail)
{
    char text[sizeof e->text];
    size_t tail_n = strnlen(tail, sizeof text - 1);
    size_t head_n = strnlen(head, sizeof text - 1 - tail_n);
    memcpy(text, head, head_n);
    memcpy(text + head_n, tail, tail_n);
    text[head_n + tail_n] = '\0';
    memcpy(e->text, text, head_n + tail_n + 1);
}

int err_set(struct err *e, int code, const char *fmt, ...)
{
    if (e) {
        char text[sizeof e->text];
        va_list ap;
        va_start(ap, fmt);
        vsnprintf(text, sizeof text, fmt, ap);
        va_end(ap);
        join(e, text, "");
        e->code = code;
        e->sys_errno = 0;
    }
    return code;
}

static int code_of_errno(int sys_errno)
{
    switch (sys_errno) {
    case ENOSPC:
    case EDQUOT: return E_NOSPC;
    case ENOENT: return E_NOTFOUND;
    case EEXIST:
    case ENOTEMPTY: return E_EXISTS;
    case EACCES:
    case EPERM:
    case EROFS: return E_DENIED;
    case ENOMEM: return E_NOMEM;
    case ETIMEDOUT: return E_TIMEOUT;
    case ECONNREFUSED:
    case ECONNRESET:
    case EHOSTUNREACH:
    case ENETUNREACH: return E_CONNECT;
    default: return E_IO;
    }
}

int err_sys(struct err *e, int sys_errno, const char *fmt, ...)
{
    int code = code_of_errno(sys_errno);
    if (e) {
        char head[sizeof e->text], tail[96], reason[80];
        va_list ap;
        va_start(ap, fmt);
        vsnprintf(head, sizeof head, fmt, ap);
        va_end(ap);
        snprintf(tail, sizeof tail, ": %s", strerror_r(sys_errno, reason, sizeof reason));
        join(e, head, tail);
        e->code = code;
        e->sys_errno = sys_errno;
    }
    return code;
}

int err_wrap(struct err *e, int code, const char *fmt, ...)
{
    if (e) {
        char head[sizeof e->text], tail[sizeof e->text + 2];
        va_list ap;
        va_start(ap, fmt);
        vsnprintf(head, sizeof head, fmt, ap);
        va_end(ap);
        snprintf(tail, sizeof tail, ": %s", e->text[0] ? e->text : err_text(code));
        join(e, head, tail);
        e->code = code;
    }
    return code;
}

void mq_panic(const char *file, int line, const char *fmt, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    fprintf(stderr, "halfpenny: bug at %s:%d: %s\n", file, line, text);
    fflush(stderr);
    abort();
}
