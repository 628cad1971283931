/* Errors as applications see them, and the library's log lines.
 *
 * Inside, errors are E_* codes of base/errors.def; at the public edge they become HP_E_*. The
 * difference that matters to a caller is whether a message may have been stored: HP_E_TIMEOUT and
 * HP_E_UNKNOWN say "perhaps", everything else says "no". Runs on any thread. */
#include "client/error.h"

#include <stdio.h>
#include <string.h>

const char *hp_strerror(int code)
{
    switch (code) {
    case HP_OK: return "success";
    case HP_E_NOMEM: return "out of memory";
    case HP_E_INVALID: return "invalid argument";
    case HP_E_TIMEOUT: return "timed out, the outcome is unknown";
    case HP_E_CONNECT: return "no broker or name server could be reached";
    case HP_E_NO_ROUTE: return "no name server knows the topic";
    case HP_E_BROKER: return "the broker refused";
    case HP_E_TOO_BIG: return "message too big";
    case HP_E_CLOSED: return "closed or closing";
    case HP_E_STATE: return "not allowed in this state";
    case HP_E_BUSY: return "too many requests in flight";
    case HP_E_PROTO: return "the peer's answer makes no sense";
    case HP_E_UNKNOWN: return "connection lost, the outcome is unknown";
    default: return "unknown error code";
    }
}

int public_code(int internal)
{
    switch (internal) {
    case 0: return 0;
    case E_NOMEM: return HP_E_NOMEM;
    case E_TIMEOUT: return HP_E_TIMEOUT;
    case E_CONNECT: return HP_E_CONNECT;
    case E_NOTFOUND: return HP_E_NO_ROUTE;
    case E_REMOTE: return HP_E_BROKER;
    case E_TOOBIG: return HP_E_TOO_BIG;
    case E_SHUTDOWN: return HP_E_CLOSED;
    case E_BUSY: return HP_E_BUSY;
    case E_PROTO: return HP_E_PROTO;
    case E_CLOSED: return HP_E_UNKNOWN;
    default: return HP_E_INVALID;
    }
}

int error_set(struct hp_error *err, int code, const char *fmt, ...)
{
    if (err) {
        va_list ap;
        va_start(ap, fmt);
        vsnprintf(err->text, sizeof err->text, fmt, ap);
        va_end(ap);
        err->code = code;
        err->broker_code = 0;
    }
    return code;
}

int error_from(struct hp_error *err, const struct err *e, int code, const char *what)
{
    return error_set(err, public_code(code), "%s: %.200s", what,
                     e->text[0] ? e->text : err_text(code));
}

void client_logf(const struct client_log *log, enum hp_log_level level, const char *fmt, ...)
{
    if (!log->fn && level < HP_LOG_WARN)
        return;
    char line[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    if (log->fn)
        log->fn(log->arg, level, line);
    else
        fprintf(stderr, "halfpenny %s: %s\n", level == HP_LOG_ERROR ? "error" : "warning", line);
}
