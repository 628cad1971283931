/* HTTP calls between the services, on libcurl. The only file of the apps that knows it.
 *
 * Any thread; each thread keeps one easy handle with its connections, freed when the thread ends. A call
 * blocks for timeout_ms at most (per attempt). Redirects are not followed, only http and https are
 * spoken, the answer is bounded while it arrives.
 *
 * The one question that matters after a failure is whether the callee may have acted. libcurl's codes
 * say so: could not resolve or connect: it has not; timed out or lost after connecting: it may have.
 */
#include "apps/common/http_client.h"

#include "apps/common/jsonx.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TIMEOUT_DEFAULT_MS 1000
#define ANSWER_MAX_DEFAULT ((size_t)1024 * 1024)

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t handle_key;

static void free_handle(void *h)
{
    curl_easy_cleanup(h);
}

static void init(void)
{
    APP_ASSERT(curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK);
    APP_ASSERT(pthread_key_create(&handle_key, free_handle) == 0);
}

static CURL *thread_handle(void)
{
    pthread_once(&once, init);
    CURL *h = pthread_getspecific(handle_key);
    if (h) {
        curl_easy_reset(h); /* forgets options, keeps connections */
        return h;
    }
    h = curl_easy_init();
    if (h)
        pthread_setspecific(handle_key, h);
    return h;
}

struct sink {
    char *p;
    size_t n, max;
    bool full;
};

static size_t on_data(char *data, size_t size, size_t count, void *arg)
{
    struct sink *s = arg;
    const size_t n = size * count;
    if (n > s->max - s->n) {
        s->full = true;
        return 0;
    }
    char *p = realloc(s->p, s->n + n + 1);
    if (!p)
        return 0;
    memcpy(p + s->n, data, n);
    s->p = p;
    s->n += n;
    s->p[s->n] = '\0';
    return n;
}

static bool add_header(struct curl_slist **list, const char *name, const char *value)
{
    if (!value)
        return true;
    char line[256];
    if ((size_t)snprintf(line, sizeof line, "%s: %s", name, value) >= sizeof line ||
        strpbrk(value, "\r\n"))
        return false;
    struct curl_slist *longer = curl_slist_append(*list, line);
    if (!longer)
        return false;
    *list = longer;
    return true;
}

static bool build_headers(const struct http_call *call, struct curl_slist **list)
{
    const char *type = call->json   ? "application/json"
                       : call->form ? "application/x-www-form-urlencoded"
                                    : NULL;
    return add_header(list, "Content-Type", type) &&
           add_header(list, "traceparent", call->traceparent) &&
           add_header(list, "Idempotency-Key", call->idempotency_key) &&
           add_header(list, "Expect", call->json || call->form ? "" : NULL);
}

static void set_options(CURL *h, const struct http_call *call, const char *body,
                        const struct curl_slist *headers, struct sink *sink)
{
    const int64_t timeout = call->timeout_ms > 0 ? call->timeout_ms : TIMEOUT_DEFAULT_MS;
    curl_easy_setopt(h, CURLOPT_URL, call->url);
    curl_easy_setopt(h, CURLOPT_CUSTOMREQUEST, call->method);
    curl_easy_setopt(h, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(h, CURLOPT_TIMEOUT_MS, (long)timeout);
    curl_easy_setopt(h, CURLOPT_CONNECTTIMEOUT_MS, (long)timeout);
    curl_easy_setopt(h, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(h, CURLOPT_PROXY, "");
    curl_easy_setopt(h, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(h, CURLOPT_WRITEFUNCTION, on_data);
    curl_easy_setopt(h, CURLOPT_WRITEDATA, sink);
    if (body) {
        curl_easy_setopt(h, CURLOPT_POSTFIELDS, body);
        curl_easy_setopt(h, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(body));
    } else if (strcmp(call->method, "POST") == 0) {
        curl_easy_setopt(h, CURLOPT_POSTFIELDS, "");
    }
}

static int fail_curl(const struct http_call *call, CURLcode rc, const struct sink *sink,
                     struct app_error *e)
{
    const char *why = curl_easy_strerror(rc);
    int kind;
    switch (rc) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_CONNECT:
        kind = APP_E_DOWN;
        break;
    case CURLE_OPERATION_TIMEDOUT:
        kind = APP_E_TIMEOUT;
        break;
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
        kind = APP_E_INVALID;
        break;
    case CURLE_OUT_OF_MEMORY:
        kind = APP_E_NOMEM;
        break;
    case CURLE_WRITE_ERROR:
        kind = sink->full ? APP_E_PROTO : APP_E_NOMEM;
        why = sink->full ? "the answer is too large" : why;
        break;
    case CURLE_WEIRD_SERVER_REPLY:
        kind = APP_E_PROTO;
        break;
    default:
        kind = APP_E_UNKNOWN;
        break;
    }
    return app_fail(e, kind, "%s %s: %s", call->method, call->url, why);
}

static int perform(const struct http_call *call, const char *body, struct curl_slist *headers,
                   struct http_answer *out, struct app_error *e)
{
    CURL *h = thread_handle();
    if (!h)
        return app_fail(e, APP_E_NOMEM, "no memory for an HTTP call");
    struct sink sink = {.max = call->answer_max ? call->answer_max : ANSWER_MAX_DEFAULT};
    set_options(h, call, body, headers, &sink);
    const CURLcode rc = curl_easy_perform(h);
    if (rc != CURLE_OK) {
        const int kind = fail_curl(call, rc, &sink, e);
        free(sink.p);
        return kind;
    }
    long status = 0;
    curl_easy_getinfo(h, CURLINFO_RESPONSE_CODE, &status);
    *out = (struct http_answer){.status = (int)status,
                                .body = sink.p ? sink.p : calloc(1, 1),
                                .body_len = sink.n,
                                .message = ""};
    return out->body ? APP_OK : app_fail(e, APP_E_NOMEM, "no memory for an HTTP answer");
}

/* Fills in the envelope's members when the body is one. */
static void read_envelope(struct http_answer *a)
{
    a->json = jsonx_parse_object(a->body, a->body_len, NULL);
    const json_t *code = json_object_get(a->json, "code"),
                 *success = json_object_get(a->json, "success");
    if (!json_is_integer(code) || !json_is_boolean(success))
        return;
    const json_t *message = json_object_get(a->json, "message"),
                 *data = json_object_get(a->json, "data");
    a->code = (int)json_integer_value(code);
    a->success = json_is_true(success);
    a->message = json_is_string(message) ? json_string_value(message) : "";
    a->data = json_is_object(data) ? data : NULL;
}

int http_do(const struct http_call *call, struct http_answer *out, struct app_error *e)
{
    struct curl_slist *headers = NULL;
    char *json = call->json ? json_dumps(call->json, JSON_COMPACT) : NULL;
    int rc;
    if ((call->json && !json) || !build_headers(call, &headers)) {
        rc = app_fail(e, APP_E_INVALID, "%s %s: bad body or header", call->method, call->url);
    } else {
        rc = perform(call, json ? json : call->form, headers, out, e);
        if (rc == APP_E_TIMEOUT && call->retry_on_timeout)
            rc = perform(call, json ? json : call->form, headers, out, e);
    }
    curl_slist_free_all(headers);
    free(json);
    if (rc == APP_OK)
        read_envelope(out);
    return rc;
}

void http_answer_free(struct http_answer *a)
{
    json_decref(a->json);
    free(a->body);
    *a = (struct http_answer){.message = ""};
}

char *http_escape(const char *s)
{
    char *escaped = curl_easy_escape(NULL, s, 0);
    char *copy = escaped ? strdup(escaped) : NULL;
    curl_free(escaped);
    return copy;
}
