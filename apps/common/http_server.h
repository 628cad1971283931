#pragma once
/* HTTP/1.1 server with JSON answers on libmicrohttpd.
 *
 * Two loop threads read and write; a bounded queue hands complete requests to worker threads, where
 * handlers run and may block on the database. A slow handler therefore delays nobody on another
 * connection; a full queue answers 503 at once.
 *
 * Every JSON answer is {"success":bool,"code":int,"message":str,"data":{}}; status and message of a
 * failure come from codes.def. Handlers answer exactly once; one that does not answers 500. */
#include "apps/common/codes.h"
#include "apps/common/error.h"
#include "apps/common/jsonx.h"
#include "apps/common/sign.h"

struct http_server;
struct http_req;
struct metrics;

typedef void (*http_handler)(void *arg, struct http_req *rq);

enum {
    HTTP_JSON = 1,       /* the body must be a JSON object */
    HTTP_FORM = 2,       /* the body is application/x-www-form-urlencoded */
    HTTP_IDEMPOTENT = 4, /* header Idempotency-Key with a uuid is mandatory */
    HTTP_INTERNAL = 8    /* served on the internal port only */
};
struct http_route {
    const char *method;  /* "GET", "POST" */
    const char *pattern; /* "/v1/orders/{id}/cancel"; a {name} takes one non-empty path segment */
    http_handler handler;
    unsigned flags;
    size_t body_max; /* 0: 64 KiB */
};

/* Routes that share a state; the first table with a matching route wins. */
struct http_table {
    const struct http_route *routes; /* ended by method NULL; lives as long as the server */
    void *arg;                       /* given to its handlers */
};

enum { HTTP_TABLES = 3 };
struct http_server_options {
    const char *listen; /* "127.0.0.1:8080", "[::1]:0"; port 0 picks a free one */
    bool internal;      /* also serves the HTTP_INTERNAL routes; otherwise those are 404 */
    struct http_table tables[HTTP_TABLES]; /* the later ones may be empty */
    int workers;                           /* 0: 8 */
    int queue_max;                         /* requests waiting for a worker; 0: 256 */
    int connections_max;                   /* 0: 1024 */
    int64_t idle_ms;                       /* silent connections are closed; 0: 30000 */
    struct metrics *metrics;               /* counts and times per route */
};
int http_server_start(const struct http_server_options *o, struct http_server **out,
                      struct app_error *e) APP_CHECK;
int http_server_port(const struct http_server *s);
/* "127.0.0.1:18080" as bound. */
const char *http_server_address(const struct http_server *s);
/* Stops accepting, answers new requests on open connections with 503, waits up to timeout_ms for the
 * running ones. Then http_server_free. */
void http_server_drain(struct http_server *s, int64_t timeout_ms);
void http_server_free(struct http_server *s);

/* The request; everything is borrowed until the handler returns. */
const char *http_path(const struct http_req *rq,
                      const char *name); /* {name}, percent-decoded; "" when absent */
const char *http_query(const struct http_req *rq, const char *name);  /* ?name=; NULL when absent */
const char *http_header(const struct http_req *rq, const char *name); /* NULL when absent */
const char *http_idempotency_key(const struct http_req *rq);          /* lower-case uuid */
const char *http_traceparent(const struct http_req *rq); /* a well-formed W3C one or NULL */
const json_t *http_json(const struct http_req *rq);      /* with HTTP_JSON: an object, else NULL */
const char *http_body(const struct http_req *rq, size_t *len); /* raw bytes, NUL-terminated */
/* With HTTP_FORM: decoded pairs, at most 64. */
size_t http_form(const struct http_req *rq, const struct sign_param **out);
const char *http_form_value(const struct http_req *rq, const char *name); /* NULL when absent */
/* {name} as an id; false after having answered 400. */
bool http_path_id(struct http_req *rq, const char *name, int64_t *out);

/* Answers. data is taken (NULL: {}). */
void http_ok(struct http_req *rq, json_t *data);
void http_ok_status(struct http_req *rq, int status, json_t *data);
/* The code's own HTTP status; the message is the code's text, followed by ": " and fmt unless fmt is "". */
void http_refuse(struct http_req *rq, int code, const char *fmt, ...) APP_PRINTF(3, 4);
/* The same with data (taken). */
void http_refuse_data(struct http_req *rq, int code, json_t *data, const char *fmt, ...)
    APP_PRINTF(4, 5);
/* Maps an error: REFUSED its code; INVALID -1; transient and unknown 503 with code 10004 (text is logged,
 * not shown); anything else 500 with code 0. */
void http_error(struct http_req *rq, const struct app_error *e);
/* An answer of another type, e.g. the provider's "SUCCESS". */
void http_text(struct http_req *rq, int status, const char *content_type, const char *text);
