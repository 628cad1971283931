/* Results of the kit: names, classes and the one place that writes a struct app_error.
 *
 * Pure; any thread. An app_error belongs to the caller that made it; nothing here allocates, so an
 * error can always be told, also when memory is out. Texts are cut to fit, outermost context first, so
 * that what is lost is the least specific end of a wrapped library text.
 */
#include "apps/common/error.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *app_errno_name(int kind)
{
    static const char *const names[] = {
        "APP_OK",         "APP_E_REFUSED", "APP_E_INVALID", "APP_E_NOMEM",
        "APP_E_BUSY",     "APP_E_DOWN",    "APP_E_TIMEOUT", "APP_E_UNKNOWN",
        "APP_E_CONFLICT", "APP_E_DB",      "APP_E_PROTO",   "APP_E_LATER",
        "APP_E_NOT_YET",  "APP_E_CONFIG",  "APP_E_CLOSED",  "APP_E_IO"};
    const int n = -kind;
    return n >= 0 && n < (int)(sizeof names / sizeof *names) ? names[n] : "APP_E_?";
}

bool app_is_transient(int kind)
{
    return kind == APP_E_BUSY || kind == APP_E_DOWN || kind == APP_E_LATER || kind == APP_E_CLOSED;
}

bool app_is_unknown(int kind)
{
    return kind == APP_E_TIMEOUT || kind == APP_E_UNKNOWN;
}

void app_error_clear(struct app_error *e)
{
    if (e)
        *e = (struct app_error){.kind = APP_OK};
}

int app_vfail(struct app_error *e, int kind, const char *fmt, va_list ap)
{
    if (e) {
        e->kind = kind;
        e->code = 0;
        e->sqlstate[0] = '\0';
        (void)vsnprintf(e->text, sizeof e->text, fmt, ap);
    }
    return kind;
}

int app_fail(struct app_error *e, int kind, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    (void)app_vfail(e, kind, fmt, ap);
    va_end(ap);
    return kind;
}

int app_refuse(struct app_error *e, int code, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    (void)app_vfail(e, APP_E_REFUSED, fmt, ap);
    va_end(ap);
    if (e)
        e->code = code;
    return APP_E_REFUSED;
}

int app_wrap(struct app_error *e, int kind, const char *fmt, ...)
{
    if (!e)
        return kind;
    char context[sizeof e->text];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(context, sizeof context, fmt, ap);
    va_end(ap);
    if (n < 0)
        return kind;
    char whole[sizeof e->text * 2 + 3];
    (void)snprintf(whole, sizeof whole, "%s: %s", context, e->text);
    memcpy(e->text, whole, sizeof e->text - 1);
    e->text[sizeof e->text - 1] = '\0';
    e->kind = kind;
    return kind;
}

_Noreturn void app_panic(const char *file, int line, const char *what)
{
    fprintf(stderr, "%s:%d: assertion failed: %s\n", file, line, what);
    abort();
}
