#pragma once
/* Blocking HTTP calls on libcurl: one handle per thread, so connections are reused without locks. */
#include "apps/common/error.h"
#include <jansson.h>
#include <stddef.h>

struct http_call {
    const char *method; /* "GET", "POST" */
    const char *url;
    const json_t *json;          /* body; borrowed; NULL: none */
    const char *form;            /* or an encoded form body */
    const char *traceparent;     /* NULL: none */
    const char *idempotency_key; /* NULL: none */
    int64_t timeout_ms;          /* whole call, per attempt; 0: 1000 */
    bool
        retry_on_timeout; /* once more after a timeout: only for calls the callee makes idempotent */
    size_t answer_max;    /* 0: 1 MiB */
};
struct http_answer {
    int status; /* HTTP status, always set on success */
    char *body; /* NUL-terminated */
    size_t body_len;
    /* When the body is the shop's envelope: */
    json_t *json; /* the whole, or NULL */
    bool success;
    int code;            /* CODE_* ; 0 when there is no envelope */
    const char *message; /* "" when there is none */
    const json_t *data;  /* {} or NULL */
};
/* 0: an answer came, whatever its status. Errors: APP_E_DOWN not connected, nothing was sent;
 * APP_E_TIMEOUT no answer in time, APP_E_UNKNOWN connection lost after sending (both: it may have
 * happened); APP_E_PROTO not HTTP or larger than answer_max; APP_E_INVALID a bad URL. */
int http_do(const struct http_call *call, struct http_answer *out, struct app_error *e) APP_CHECK;
void http_answer_free(struct http_answer *a);
/* Percent-encodes into a form or query value; free() the result; NULL when memory is out. */
char *http_escape(const char *s);
