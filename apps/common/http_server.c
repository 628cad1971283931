/* HTTP server: libmicrohttpd for the wire, our own worker threads for the handlers.
 *
 * Threads. Two loop threads of libmicrohttpd accept, read and write. When a request is complete, its
 * connection is suspended and the request goes into a bounded queue; a worker runs the handler, stores
 * the response in the request and resumes the connection; the loop thread then sends it. A request has
 * one owner at any time: loop (reading), queue or worker (handling), loop (sending). Handlers may block.
 *
 * Happy path: on_access is called first with headers (route chosen, size checked), then with pieces of
 * the body, then with none: enqueue. After the resume it is called once more: queue the response.
 *
 * Failure modes: no route 404, other method 405, announced body too large 413, one that turns out too
 * large: the connection is closed (libmicrohttpd cannot answer in the middle of a body); queue full or
 * draining 503; bad JSON, form or key 400; a handler that did not answer 500. Silent connections end
 * after idle_ms, their number is bounded, so is their memory.
 *
 * Shutdown: drain stops the listening socket, waits until `active` is 0 or time is up; free joins the
 * workers after they have emptied the queue, so no connection is suspended when the daemon stops.
 */
#include "apps/common/http_server.h"

#include "apps/common/ids.h"
#include "apps/common/log.h"
#include "apps/common/metrics.h"
#include "apps/common/timing.h"

#include <arpa/inet.h>
#include <microhttpd.h>
#include <netdb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define BODY_MAX_DEFAULT ((size_t)64 * 1024)
#define PATH_PARAMS_MAX 4
#define FORM_MAX 64
#define LOOP_THREADS 2
#define WORKERS_MAX 256

enum phase { READING, WAITING, ANSWERED };

struct path_param {
    char name[32];
    const char *value; /* into http_req.url */
};

struct http_req {
    struct http_server *server;
    struct MHD_Connection *conn;
    const struct http_route *route; /* NULL: none matched, `status` says why */
    void *handler_arg;
    enum phase phase;
    char *url; /* own copy, cut at the slashes of path parameters */
    struct path_param params[PATH_PARAMS_MAX];
    int n_params;
    char *body;
    size_t body_len, body_cap, body_max;
    json_t *json;
    struct sign_param form[FORM_MAX];
    size_t n_form;
    char key[37];
    int status; /* HTTP status of the answer, 0: none yet */
    struct MHD_Response *response;
    int64_t start_us;
    struct http_req *next; /* queue */
};

struct http_server {
    struct MHD_Daemon *daemon;
    struct http_table tables[HTTP_TABLES];
    bool internal;
    char address[80];
    int port;
    int listen_fd; /* from quiesce, to be closed after the daemon */
    struct metrics *metrics;
    int queue_max, n_workers;
    pthread_t workers[WORKERS_MAX];
    pthread_mutex_t lock; /* guards everything below */
    pthread_cond_t work, quiet;
    struct http_req *head, *tail;
    int queued, active; /* active: from the first byte of a request to its completion */
    bool draining, stopping;
};

/* ---- answers ---- */

static void answer_buffer(struct http_req *rq, int status, const char *type, char *text_take,
                          size_t len)
{
    if (rq->status) { /* the second answer of one handler is a bug of the handler; the first one stands */
        log_error("http_answered_twice", "route=%s status=%d", rq->route ? rq->route->pattern : "-",
                  status);
        free(text_take);
        return;
    }
    struct MHD_Response *r =
        text_take ? MHD_create_response_from_buffer(len, text_take, MHD_RESPMEM_MUST_FREE) : NULL;
    if (!r) {
        free(text_take);
        static char empty[1];
        r = MHD_create_response_from_buffer(0, empty, MHD_RESPMEM_PERSISTENT);
        status = 500;
    } else {
        (void)MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    }
    rq->response = r;
    rq->status = status;
}

static void answer_json(struct http_req *rq, int status, int code, const char *message,
                        json_t *data_take)
{
    json_t *j = json_pack("{s:b, s:i, s:s, s:o}", "success", code == CODE_OK, "code", code,
                          "message", message, "data", data_take ? data_take : json_object());
    char *text = j ? json_dumps(j, JSON_COMPACT) : NULL;
    json_decref(j);
    answer_buffer(rq, status, "application/json", text, text ? strlen(text) : 0);
}

void http_ok_status(struct http_req *rq, int status, json_t *data)
{
    answer_json(rq, status, CODE_OK, code_text(CODE_OK), data);
}

void http_ok(struct http_req *rq, json_t *data)
{
    http_ok_status(rq, 200, data);
}

__attribute__((format(printf, 5, 0)))
static void refuse(struct http_req *rq, int status, int code, json_t *data, const char *fmt,
                   va_list ap)
{
    char detail[400], message[512];
    (void)vsnprintf(detail, sizeof detail, fmt, ap);
    (void)snprintf(message, sizeof message, "%s%s%s", code_text(code), detail[0] ? ": " : "",
                   detail);
    answer_json(rq, status, code, message, data);
}

void http_refuse(struct http_req *rq, int code, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    refuse(rq, code_http(code), code, NULL, fmt, ap);
    va_end(ap);
}

void http_refuse_data(struct http_req *rq, int code, json_t *data, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    refuse(rq, code_http(code), code, data, fmt, ap);
    va_end(ap);
}

static void refuse_status(struct http_req *rq, int status, const char *fmt, ...) APP_PRINTF(3, 4);
static void refuse_status(struct http_req *rq, int status, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    refuse(rq, status, status < 500 ? CODE_BAD_PARAMETER : CODE_FAIL, NULL, fmt, ap);
    va_end(ap);
}

void http_error(struct http_req *rq, const struct app_error *e)
{
    const char *route = rq->route ? rq->route->pattern : "-";
    if (e->kind == APP_E_REFUSED) {
        http_refuse(rq, e->code, "%s", e->text);
    } else if (e->kind == APP_E_INVALID) {
        http_refuse(rq, CODE_BAD_PARAMETER, "%s", e->text);
    } else if (app_is_transient(e->kind) || app_is_unknown(e->kind)) {
        log_warn("http_unavailable", "route=%s kind=%s error=%s", route, app_errno_name(e->kind),
                 app_log_value(e->text));
        http_refuse(rq, CODE_ORDER_SAVE, "%s", "");
    } else {
        log_error("http_failed", "route=%s kind=%s error=%s", route, app_errno_name(e->kind),
                  app_log_value(e->text));
        http_refuse(rq, CODE_FAIL, "%s", "");
    }
}

void http_text(struct http_req *rq, int status, const char *content_type, const char *text)
{
    char *copy = strdup(text);
    answer_buffer(rq, status, content_type, copy, copy ? strlen(copy) : 0);
}

/* ---- the request as handlers see it ---- */

const char *http_path(const struct http_req *rq, const char *name)
{
    for (int i = 0; i < rq->n_params; i++)
        if (strcmp(rq->params[i].name, name) == 0)
            return rq->params[i].value;
    return "";
}

bool http_path_id(struct http_req *rq, const char *name, int64_t *out)
{
    if (id_parse(http_path(rq, name), out))
        return true;
    http_refuse(rq, CODE_BAD_PARAMETER, "%s in the path: not an id", name);
    return false;
}

const char *http_query(const struct http_req *rq, const char *name)
{
    return MHD_lookup_connection_value(rq->conn, MHD_GET_ARGUMENT_KIND, name);
}

const char *http_header(const struct http_req *rq, const char *name)
{
    return MHD_lookup_connection_value(rq->conn, MHD_HEADER_KIND, name);
}

const char *http_idempotency_key(const struct http_req *rq)
{
    return rq->key;
}

const char *http_traceparent(const struct http_req *rq)
{
    const char *s = http_header(rq, "traceparent");
    return s && strlen(s) == 55 && s[2] == '-' && s[35] == '-' && s[52] == '-' &&
                   strspn(s, "0123456789abcdef-") == 55
               ? s
               : NULL;
}

const json_t *http_json(const struct http_req *rq)
{
    return rq->json;
}

const char *http_body(const struct http_req *rq, size_t *len)
{
    *len = rq->body_len;
    return rq->body ? rq->body : "";
}

size_t http_form(const struct http_req *rq, const struct sign_param **out)
{
    *out = rq->form;
    return rq->n_form;
}

const char *http_form_value(const struct http_req *rq, const char *name)
{
    for (size_t i = 0; i < rq->n_form; i++)
        if (strcmp(rq->form[i].name, name) == 0)
            return rq->form[i].value;
    return NULL;
}

/* ---- routing ---- */

/* Cuts `url` at the parameters and fills them in; false (url perhaps cut) when it does not match. */
static bool match(struct http_req *rq, const char *pattern, char *url)
{
    rq->n_params = 0;
    const char *p = pattern;
    char *u = url;
    while (*p) {
        if (*p != '{') {
            if (*p++ != *u++)
                return false;
            continue;
        }
        const size_t name_len = strcspn(p + 1, "}");
        const size_t value_len = strcspn(u, "/");
        struct path_param *param = &rq->params[rq->n_params++];
        APP_ASSERT(rq->n_params <= PATH_PARAMS_MAX && name_len < sizeof param->name);
        if (value_len == 0)
            return false;
        memcpy(param->name, p + 1, name_len);
        param->name[name_len] = '\0';
        param->value = u;
        p += name_len + 2;
        u += value_len;
        if (*p == '/' && *u == '/') {
            *u++ = '\0';
            p++;
        }
    }
    return *u == '\0';
}

/* Sets route and handler_arg, or status 404/405. */
static bool find_route(struct http_req *rq, const char *url, const char *method)
{
    bool other_method = false;
    for (int t = 0; t < HTTP_TABLES; t++) {
        for (const struct http_route *r = rq->server->tables[t].routes; r && r->method; r++) {
            if ((r->flags & HTTP_INTERNAL) && !rq->server->internal)
                continue;
            free(rq->url);
            rq->url = strdup(url);
            if (!rq->url || !match(rq, r->pattern, rq->url))
                continue;
            if (strcmp(r->method, method) == 0) {
                rq->route = r;
                rq->handler_arg = rq->server->tables[t].arg;
                return true;
            }
            other_method = true;
        }
    }
    if (other_method)
        refuse_status(rq, 405, "%s is not allowed here", method);
    else
        refuse_status(rq, 404, "no such path");
    return false;
}

/* ---- body ---- */

static bool append(struct http_req *rq, const char *data, size_t n)
{
    if (n > rq->body_max - rq->body_len)
        return false;
    if (rq->body_len + n + 1 > rq->body_cap) {
        size_t cap = rq->body_cap ? rq->body_cap * 2 : 1024;
        while (cap < rq->body_len + n + 1)
            cap *= 2;
        char *body = realloc(rq->body, cap);
        if (!body)
            return false;
        rq->body = body;
        rq->body_cap = cap;
    }
    memcpy(rq->body + rq->body_len, data, n);
    rq->body_len += n;
    rq->body[rq->body_len] = '\0';
    return true;
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* Decodes in place; false for a bad escape or a NUL. */
static bool form_decode(char *s)
{
    char *out = s;
    for (; *s; s++) {
        if (*s == '%') {
            const int hi = hex_digit(s[1]), lo = hi < 0 ? -1 : hex_digit(s[2]);
            if (lo < 0 || (hi == 0 && lo == 0))
                return false;
            *out++ = (char)(hi << 4 | lo);
            s += 2;
        } else {
            *out++ = *s == '+' ? ' ' : *s;
        }
    }
    *out = '\0';
    return true;
}

static bool parse_form(struct http_req *rq)
{
    char *s = rq->body;
    if (rq->body_len != (s ? strlen(s) : 0))
        return false;
    while (s && *s) {
        char *next = strchr(s, '&');
        if (next)
            *next++ = '\0';
        char *eq = strchr(s, '=');
        if (!eq || rq->n_form == FORM_MAX)
            return false;
        *eq = '\0';
        if (!form_decode(s) || !form_decode(eq + 1))
            return false;
        rq->form[rq->n_form++] = (struct sign_param){s, eq + 1};
        s = next;
    }
    return true;
}

static bool take_key(struct http_req *rq)
{
    static const char shape[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
    const char *s = http_header(rq, "Idempotency-Key");
    if (!s || strlen(s) != sizeof shape - 1)
        return false;
    for (size_t i = 0; i < sizeof shape - 1; i++) {
        if (shape[i] == '-' ? s[i] != '-' : hex_digit(s[i]) < 0)
            return false;
        rq->key[i] = s[i] >= 'A' && s[i] <= 'F' ? (char)(s[i] + 32) : s[i];
    }
    return true;
}

/* What the route's flags ask; false after having answered. */
static bool prepare(struct http_req *rq)
{
    struct app_error e;
    if ((rq->route->flags & HTTP_IDEMPOTENT) && !take_key(rq)) {
        http_refuse(rq, CODE_BAD_PARAMETER, "the header Idempotency-Key must hold a uuid");
        return false;
    }
    if ((rq->route->flags & HTTP_JSON) &&
        !(rq->json = jsonx_parse_object(rq->body ? rq->body : "", rq->body_len, &e))) {
        http_refuse(rq, CODE_BAD_PARAMETER, "body: %s", e.text);
        return false;
    }
    if ((rq->route->flags & HTTP_FORM) && !parse_form(rq)) {
        http_refuse(rq, CODE_BAD_PARAMETER, "body: not an urlencoded form of at most %d fields",
                    FORM_MAX);
        return false;
    }
    return true;
}

/* ---- workers ---- */

static void observe(const struct http_req *rq)
{
    char labels[192];
    const char *pattern = rq->route ? rq->route->pattern : "none";
    (void)snprintf(labels, sizeof labels, "route=\"%.100s\",status=\"%d\"", pattern, rq->status);
    metric_add(metrics_counter(rq->server->metrics, "shop_http_requests_total",
                               "HTTP requests answered", labels),
               1);
    (void)snprintf(labels, sizeof labels, "route=\"%.100s\"", pattern);
    metric_observe_us(
        metrics_histogram(rq->server->metrics, "shop_http_ms", "time to answer", labels),
        timing_mono_us() - rq->start_us);
}

static void handle(struct http_req *rq)
{
    if (prepare(rq))
        rq->route->handler(rq->handler_arg, rq);
    if (!rq->status) {
        log_error("http_unanswered", "route=%s", rq->route->pattern);
        http_refuse(rq, CODE_FAIL, "%s", "");
    }
}

static void *worker_main(void *arg)
{
    struct http_server *s = arg;
    pthread_mutex_lock(&s->lock);
    for (;;) {
        while (!s->head && !s->stopping)
            pthread_cond_wait(&s->work, &s->lock);
        struct http_req *rq = s->head;
        if (!rq)
            break;
        s->head = rq->next;
        if (!s->head)
            s->tail = NULL;
        s->queued--;
        pthread_mutex_unlock(&s->lock);
        handle(rq);
        rq->phase = ANSWERED;
        MHD_resume_connection(rq->conn);
        pthread_mutex_lock(&s->lock);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

/* False: queue full or shutting down. The connection is suspended before a worker can see the request. */
static bool enqueue(struct http_req *rq)
{
    struct http_server *s = rq->server;
    pthread_mutex_lock(&s->lock);
    const bool ok = s->queued < s->queue_max && !s->stopping;
    if (ok) {
        rq->phase = WAITING;
        MHD_suspend_connection(rq->conn);
        rq->next = NULL;
        if (s->tail)
            s->tail->next = rq;
        else
            s->head = rq;
        s->tail = rq;
        s->queued++;
        pthread_cond_signal(&s->work);
    }
    pthread_mutex_unlock(&s->lock);
    return ok;
}

/* ---- loop threads ---- */

static struct http_req *req_new(struct http_server *s, struct MHD_Connection *conn, bool *draining)
{
    struct http_req *rq = calloc(1, sizeof *rq);
    if (!rq)
        return NULL;
    rq->server = s;
    rq->conn = conn;
    rq->start_us = timing_mono_us();
    pthread_mutex_lock(&s->lock);
    s->active++;
    *draining = s->draining;
    pthread_mutex_unlock(&s->lock);
    return rq;
}

static void on_completed(void *arg, struct MHD_Connection *conn, void **con_cls,
                         enum MHD_RequestTerminationCode why)
{
    (void)conn;
    (void)why;
    struct http_server *s = arg;
    struct http_req *rq = *con_cls;
    if (!rq)
        return;
    *con_cls = NULL;
    if (rq->response)
        MHD_destroy_response(rq->response);
    json_decref(rq->json);
    free(rq->body);
    free(rq->url);
    free(rq);
    pthread_mutex_lock(&s->lock);
    if (--s->active == 0)
        pthread_cond_broadcast(&s->quiet);
    pthread_mutex_unlock(&s->lock);
}

static enum MHD_Result send_answer(struct http_req *rq, bool close)
{
    if (close)
        (void)MHD_add_response_header(rq->response, MHD_HTTP_HEADER_CONNECTION, "close");
    observe(rq);
    return MHD_queue_response(rq->conn, (unsigned)rq->status, rq->response);
}

static size_t announced_length(const struct http_req *rq)
{
    const char *s = http_header(rq, MHD_HTTP_HEADER_CONTENT_LENGTH);
    return s ? (size_t)strtoull(s, NULL, 10) : 0;
}

static enum MHD_Result on_headers(struct http_server *s, struct MHD_Connection *conn,
                                  const char *url, const char *method, void **con_cls)
{
    bool draining;
    struct http_req *rq = req_new(s, conn, &draining);
    if (!rq)
        return MHD_NO;
    *con_cls = rq;
    if (draining) {
        refuse_status(rq, 503, "shutting down");
        return send_answer(rq, true);
    }
    if (!find_route(rq, url, method))
        return send_answer(rq, announced_length(rq) > 0);
    rq->body_max = rq->route->body_max ? rq->route->body_max : BODY_MAX_DEFAULT;
    if (announced_length(rq) > rq->body_max) {
        refuse_status(rq, 413, "the body may have %zu bytes at most", rq->body_max);
        return send_answer(rq, true);
    }
    return MHD_YES;
}

static enum MHD_Result on_access(void *arg, struct MHD_Connection *conn, const char *url,
                                 const char *method, const char *version, const char *data,
                                 size_t *data_len, void **con_cls)
{
    (void)version;
    struct http_req *rq = *con_cls;
    if (!rq)
        return on_headers(arg, conn, url, method, con_cls);
    if (*data_len > 0) {
        if (!append(rq, data, *data_len))
            return MHD_NO;
        *data_len = 0;
        return MHD_YES;
    }
    if (rq->phase == READING) {
        if (enqueue(rq))
            return MHD_YES;
        refuse_status(rq, 503, "too many requests are waiting");
    }
    return send_answer(rq, false);
}

static void on_library_log(void *arg, const char *fmt, va_list ap) APP_PRINTF(2, 0);
static void on_library_log(void *arg, const char *fmt, va_list ap)
{
    (void)arg;
    char text[256];
    (void)vsnprintf(text, sizeof text, fmt, ap);
    log_debug("http_library", "text=%s", app_log_value(text));
}

/* ---- life ---- */

/* "host:port", "[v6]:port"; an empty host listens everywhere. */
static int resolve(const char *listen, struct sockaddr_storage *out, bool *v6, struct app_error *e)
{
    const char *colon = strrchr(listen, ':');
    char host[128];
    size_t n = colon ? (size_t)(colon - listen) : 0;
    if (!colon || n >= sizeof host || strspn(colon + 1, "0123456789") != strlen(colon + 1) ||
        strlen(colon + 1) < 1 || strlen(colon + 1) > 5 || strtol(colon + 1, NULL, 10) > 65535)
        return app_fail(e, APP_E_CONFIG,
                        "listen \"%s\": expected HOST:PORT with a port from 0 to 65535", listen);
    const bool brackets = n >= 2 && listen[0] == '[' && listen[n - 1] == ']';
    (void)snprintf(host, sizeof host, "%.*s", (int)(brackets ? n - 2 : n), listen + brackets);
    const struct addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *found;
    const int rc = getaddrinfo(host[0] ? host : NULL, colon + 1, &hints, &found);
    if (rc != 0)
        return app_fail(e, APP_E_CONFIG, "listen \"%s\": %s", listen, gai_strerror(rc));
    memcpy(out, found->ai_addr, found->ai_addrlen);
    *v6 = found->ai_family == AF_INET6;
    freeaddrinfo(found);
    return APP_OK;
}

static void describe_address(struct http_server *s, const struct sockaddr_storage *a, bool v6)
{
    char host[INET6_ADDRSTRLEN];
    const void *raw = v6 ? (const void *)&((const struct sockaddr_in6 *)a)->sin6_addr
                         : (const void *)&((const struct sockaddr_in *)a)->sin_addr;
    if (!inet_ntop(v6 ? AF_INET6 : AF_INET, raw, host, sizeof host))
        host[0] = '\0';
    (void)snprintf(s->address, sizeof s->address, v6 ? "[%s]:%d" : "%s:%d", host, s->port);
}

static int start_daemon(struct http_server *s, const struct http_server_options *o,
                        struct app_error *e)
{
    struct sockaddr_storage address = {.ss_family = 0};
    bool v6 = false;
    const int rc = resolve(o->listen, &address, &v6, e);
    if (rc)
        return rc;
    const unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME |
                           MHD_USE_ERROR_LOG | (v6 ? MHD_USE_IPv6 : 0u);
    const int64_t idle_s = ((o->idle_ms > 0 ? o->idle_ms : 30000) + 999) / 1000;
    s->daemon =
        MHD_start_daemon(flags, 0, NULL, NULL, on_access, s, MHD_OPTION_EXTERNAL_LOGGER,
                         on_library_log, NULL, MHD_OPTION_SOCK_ADDR, (struct sockaddr *)&address,
                         MHD_OPTION_NOTIFY_COMPLETED, on_completed, s, MHD_OPTION_THREAD_POOL_SIZE,
                         (unsigned)LOOP_THREADS, MHD_OPTION_CONNECTION_LIMIT,
                         (unsigned)(o->connections_max > LOOP_THREADS ? o->connections_max : 1024),
                         MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)idle_s,
                         MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)32 * 1024, MHD_OPTION_END);
    if (!s->daemon)
        return app_fail(e, APP_E_IO, "cannot listen on %s: is the port free and allowed?",
                        o->listen);
    s->port = MHD_get_daemon_info(s->daemon, MHD_DAEMON_INFO_BIND_PORT)->port;
    describe_address(s, &address, v6);
    return APP_OK;
}

static void stop_workers(struct http_server *s)
{
    pthread_mutex_lock(&s->lock);
    s->stopping = true;
    pthread_cond_broadcast(&s->work);
    pthread_mutex_unlock(&s->lock);
    for (int i = 0; i < s->n_workers; i++)
        pthread_join(s->workers[i], NULL);
    s->n_workers = 0;
}

int http_server_start(const struct http_server_options *o, struct http_server **out,
                      struct app_error *e)
{
    struct http_server *s = calloc(1, sizeof *s);
    if (!s)
        return app_fail(e, APP_E_NOMEM, "no memory for the HTTP server");
    memcpy(s->tables, o->tables, sizeof s->tables);
    s->internal = o->internal;
    s->metrics = o->metrics;
    s->queue_max = o->queue_max > 0 ? o->queue_max : 256;
    s->listen_fd = -1;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->work, NULL);
    timing_cond_init(&s->quiet);
    int rc = APP_OK;
    const int workers = o->workers > 0 ? o->workers : 8;
    for (int i = 0; i < workers && i < WORKERS_MAX && rc == APP_OK; i++) {
        if (pthread_create(&s->workers[i], NULL, worker_main, s) == 0)
            s->n_workers++;
        else
            rc = app_fail(e, APP_E_NOMEM, "cannot start an HTTP worker thread");
    }
    if (rc == APP_OK)
        rc = start_daemon(s, o, e);
    if (rc) {
        http_server_free(s);
        return rc;
    }
    *out = s;
    return APP_OK;
}

int http_server_port(const struct http_server *s)
{
    return s->port;
}

const char *http_server_address(const struct http_server *s)
{
    return s->address;
}

void http_server_drain(struct http_server *s, int64_t timeout_ms)
{
    if (s->listen_fd < 0)
        s->listen_fd = MHD_quiesce_daemon(s->daemon);
    const int64_t deadline = timing_mono_ms() + timeout_ms;
    pthread_mutex_lock(&s->lock);
    s->draining = true;
    while (s->active > 0 && timing_mono_ms() < deadline)
        (void)timing_cond_wait(&s->quiet, &s->lock, deadline);
    if (s->active > 0)
        log_warn("http_drain_timeout", "address=%s active=%d", s->address, s->active);
    pthread_mutex_unlock(&s->lock);
}

void http_server_free(struct http_server *s)
{
    if (!s)
        return;
    stop_workers(s);
    if (s->daemon)
        MHD_stop_daemon(s->daemon);
    if (s->listen_fd >= 0)
        close(s->listen_fd);
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->work);
    pthread_cond_destroy(&s->quiet);
    free(s);
}
