/* Server and client against each other, and the server against a raw socket that misbehaves. */
#include "apps/common/http_client.h"
#include "apps/common/http_server.h"
#include "apps/common/metrics.h"
#include "apps/common/timing.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/support/test.h"
#include "tests/support/wait.h"

static struct http_server *server;
static struct metrics *metrics;
static _Atomic int slow_running, slow_release;

static void on_echo(void *arg, struct http_req *rq)
{
    (void)arg;
    int64_t id;
    if (http_path_id(rq, "id", &id))
        http_ok_status(rq, 201,
                       json_pack("{s:o, s:O, s:s}", "id", jsonx_from_id(id), "body", http_json(rq),
                                 "key", http_idempotency_key(rq)));
}

static void on_form(void *arg, struct http_req *rq)
{
    (void)arg;
    const char *v = http_form_value(rq, "name");
    http_text(rq, 200, "text/plain", v ? v : "-");
}

static void on_silent(void *arg, struct http_req *rq)
{
    (void)arg;
    (void)rq;
}

static void on_refuse(void *arg, struct http_req *rq)
{
    (void)arg;
    http_refuse(rq, CODE_STOCK_SHORT, "goods %d", 7);
}

static bool released(void *arg)
{
    (void)arg;
    return slow_release > 0;
}

static void on_slow(void *arg, struct http_req *rq)
{
    (void)arg;
    slow_running++;
    (void)wait_until(released, NULL, 20000);
    slow_running--;
    http_ok(rq, NULL);
}

static void on_big(void *arg, struct http_req *rq)
{
    (void)arg;
    char *text = calloc(1, 300000);
    memset(text, 'x', 299999);
    http_text(rq, 200, "text/plain", text);
    free(text);
}

static const struct http_route routes[] = {
    {.method = "POST",
     .pattern = "/things/{id}/echo",
     .handler = on_echo,
     .flags = HTTP_JSON | HTTP_IDEMPOTENT,
     .body_max = 200},
    {.method = "POST", .pattern = "/form", .handler = on_form, .flags = HTTP_FORM},
    {.method = "GET", .pattern = "/silent", .handler = on_silent},
    {.method = "GET", .pattern = "/refuse", .handler = on_refuse},
    {.method = "GET", .pattern = "/slow", .handler = on_slow},
    {.method = "GET", .pattern = "/big", .handler = on_big},
    {.method = "GET", .pattern = "/internal/x", .handler = on_refuse, .flags = HTTP_INTERNAL},
    {0}};

static int setup(void **state)
{
    (void)state;
    struct app_error e;
    slow_running = slow_release = 0;
    metrics = metrics_new();
    const struct http_server_options o = {.listen = "127.0.0.1:0",
                                          .tables = {{routes, NULL}},
                                          .workers = 2,
                                          .queue_max = 2,
                                          .idle_ms = 1000,
                                          .connections_max = 64,
                                          .metrics = metrics};
    const int rc = http_server_start(&o, &server, &e);
    if (rc)
        print_error("%s\n", e.text);
    return rc;
}

static int teardown(void **state)
{
    (void)state;
    slow_release = 1;
    http_server_free(server);
    metrics_free(metrics);
    return 0;
}

#define KEY "0B1E2F3A-0000-4000-8000-000000000001"

static int call(const char *method, const char *path, const char *json, const char *form,
                int64_t timeout_ms, struct http_answer *a, struct app_error *e)
{
    char url[200];
    (void)snprintf(url, sizeof url, "http://%s%s", http_server_address(server), path);
    json_t *j = json ? json_loads(json, JSON_DECODE_ANY, NULL) : NULL;
    const struct http_call c = {.method = method,
                                .url = url,
                                .json = j,
                                .form = form,
                                .idempotency_key = KEY,
                                .timeout_ms = timeout_ms};
    const int rc = http_do(&c, a, e);
    json_decref(j);
    return rc;
}

static void expect(const char *method, const char *path, const char *json, const char *form,
                   int status, int code, const char *part)
{
    struct http_answer a;
    struct app_error e = {.text = ""};
    if (call(method, path, json, form, 5000, &a, &e))
        fail_msg("%s %s: %s", method, path, e.text);
    if (a.status != status || a.code != code || (part && !strstr(a.body, part)))
        fail_msg("%s %s: HTTP %d code %d %s, expected %d %d %s", method, path, a.status, a.code,
                 a.body, status, code, part ? part : "");
    http_answer_free(&a);
}

static void a_request_reaches_its_handler_with_path_body_and_key(void **state)
{
    (void)state;
    expect(
        "POST", "/things/42/echo", "{\"a\":[1,2]}", NULL, 201, CODE_OK,
        "\"data\":{\"id\":\"42\",\"body\":{\"a\":[1,2]},\"key\":\"0b1e2f3a-0000-4000-8000-000000000001\"}");
    expect("POST", "/form", NULL, "other=1&name=a%20b%26c", 200, 0, "a b&c");
    expect("GET", "/refuse", NULL, NULL, 409, CODE_STOCK_SHORT, "not enough stock: goods 7");
}

static void wrong_requests_get_4xx_with_a_reason(void **state)
{
    (void)state;
    expect("POST", "/things/x/echo", "{}", NULL, 400, CODE_BAD_PARAMETER, "id in the path");
    expect("POST", "/things/42/echo", "[]", NULL, 400, CODE_BAD_PARAMETER,
           "expected a JSON object");
    expect("POST", "/things/42/echo", NULL, NULL, 400, CODE_BAD_PARAMETER, "not JSON");
    expect("POST", "/form", NULL, "name", 400, CODE_BAD_PARAMETER, "form");
    expect("POST", "/form", NULL, "name=%zz", 400, CODE_BAD_PARAMETER, "form");
    expect("POST", "/form", NULL, "name=%00", 400, CODE_BAD_PARAMETER, "form");
    expect("GET", "/things/42/echo", NULL, NULL, 405, CODE_BAD_PARAMETER, NULL);
    expect("GET", "/nowhere", NULL, NULL, 404, CODE_BAD_PARAMETER, NULL);
    expect("GET", "/things//echo", NULL, NULL, 404, CODE_BAD_PARAMETER, NULL);
    expect("GET", "/internal/x", NULL, NULL, 404, CODE_BAD_PARAMETER,
           NULL); /* this is the public port */
    expect("GET", "/silent", NULL, NULL, 500, CODE_FAIL, NULL);
}

static void a_body_over_the_limit_is_refused_before_it_is_read(void **state)
{
    (void)state;
    char json[400];
    memset(json, 'x', sizeof json);
    memcpy(json, "{\"a\":\"", 6);
    memcpy(json + 300, "\"}", 3);
    expect("POST", "/things/42/echo", json, NULL, 413, CODE_BAD_PARAMETER, "200 bytes");
}

static int raw_connect(void)
{
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons((uint16_t)http_server_port(server)),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const struct timeval tv = {.tv_sec = 10};
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    return fd;
}

/* Sends, reads until the server closes; returns what came. */
static size_t raw_talk(const char *text, size_t len, char *out, size_t size)
{
    const int fd = raw_connect();
    (void)!send(fd, text, len, MSG_NOSIGNAL);
    size_t n = 0;
    for (ssize_t got; n < size - 1 && (got = recv(fd, out + n, size - 1 - n, 0)) > 0;)
        n += (size_t)got;
    out[n] = '\0';
    close(fd);
    return n;
}

static void garbage_and_silence_end_the_connection_and_nobody_else_notices(void **state)
{
    (void)state;
    char out[2000], chunked[3000];
    (void)raw_talk("\0\1\2\3garbage\r\n\r\n", 15, out, sizeof out);
    const size_t silent = raw_talk("", 0, out, sizeof out); /* closed after idle_ms */
    assert_int_equal(silent, 0);
    int n = snprintf(chunked, sizeof chunked,
                     "POST /things/1/echo HTTP/1.1\r\nHost: x\r\nIdempotency-Key: " KEY
                     "\r\nTransfer-Encoding: chunked\r\n\r\n1f4\r\n");
    memset(chunked + n, 'y', 500);
    memcpy(chunked + n + 500, "\r\n0\r\n\r\n", 7);
    (void)raw_talk(chunked, (size_t)n + 507, out, sizeof out);
    assert_null(strstr(out, "201"));
    expect("GET", "/refuse", NULL, NULL, 409, CODE_STOCK_SHORT, NULL);
}

struct caller {
    pthread_t thread;
    int status, rc;
};

static void *call_slow(void *arg)
{
    struct caller *c = arg;
    struct http_answer a;
    struct app_error e;
    c->rc = call("GET", "/slow", NULL, NULL, 20000, &a, &e);
    if (c->rc == APP_OK) {
        c->status = a.status;
        http_answer_free(&a);
    }
    return NULL;
}

static bool two_running(void *arg)
{
    (void)arg;
    return slow_running == 2;
}

static void a_full_queue_answers_503_at_once_and_the_others_are_served(void **state)
{
    (void)state;
    struct caller c[8];
    for (int i = 0; i < 8; i++) {
        c[i] = (struct caller){.status = 0};
        assert_int_equal(pthread_create(&c[i].thread, NULL, call_slow, &c[i]), 0);
    }
    assert_true(wait_until(two_running, NULL, 5000));
    int refused = 0, served = 0;
    struct http_answer a;
    struct app_error e;
    /* With 2 at work and 2 waiting there is no room, so one more is refused without waiting. */
    for (int i = 0; i < 200 && refused == 0; i++) {
        if (call("GET", "/refuse", NULL, NULL, 100, &a, &e))
            continue; /* it found room in the queue and waits there */
        refused += a.status == 503;
        http_answer_free(&a);
    }
    assert_int_equal(refused, 1);
    slow_release = 1;
    for (int i = 0; i < 8; i++) {
        pthread_join(c[i].thread, NULL);
        assert_int_equal(c[i].rc, APP_OK);
        served += c[i].status == 200;
        assert_true(c[i].status == 200 || c[i].status == 503);
    }
    assert_true(served >=
                2); /* how many of a burst found room in the queue is a matter of timing */
}

static void drain_waits_for_running_requests_and_refuses_new_connections(void **state)
{
    (void)state;
    struct caller c = {.status = 0};
    assert_int_equal(pthread_create(&c.thread, NULL, call_slow, &c), 0);
    while (slow_running == 0)
        wait_step(1);
    http_server_drain(server, 50);
    assert_int_equal(slow_running, 1); /* time was up, it still runs */
    slow_release = 1;
    http_server_drain(server, 10000);
    pthread_join(c.thread, NULL);
    assert_int_equal(c.status, 200);
}

static void failures_say_whether_the_callee_may_have_acted(void **state)
{
    (void)state;
    struct http_answer a;
    struct app_error e;
    assert_int_equal(call("GET", "/slow", NULL, NULL, 100, &a, &e), APP_E_TIMEOUT);
    const struct http_call refused = {
        .method = "GET", .url = "http://127.0.0.1:1/", .timeout_ms = 2000};
    assert_int_equal(http_do(&refused, &a, &e), APP_E_DOWN);
    const struct http_call bad = {.method = "GET", .url = "file:///etc/passwd"};
    assert_int_equal(http_do(&bad, &a, &e), APP_E_INVALID);
    char url[200];
    (void)snprintf(url, sizeof url, "http://%s/big", http_server_address(server));
    const struct http_call big = {
        .method = "GET", .url = url, .timeout_ms = 5000, .answer_max = 299998};
    assert_int_equal(http_do(&big, &a, &e), APP_E_PROTO);
    const struct http_call fits = {
        .method = "GET", .url = url, .timeout_ms = 5000, .answer_max = 299999};
    assert_int_equal(http_do(&fits, &a, &e), APP_OK);
    assert_int_equal(a.body_len, 299999);
    http_answer_free(&a);
}

static void requests_are_counted_per_route_and_status(void **state)
{
    (void)state;
    expect("GET", "/refuse", NULL, NULL, 409, CODE_STOCK_SHORT, NULL);
    expect("GET", "/nowhere", NULL, NULL, 404, CODE_BAD_PARAMETER, NULL);
    char *text = metrics_text(metrics);
    assert_contains(text, "shop_http_requests_total{route=\"/refuse\",status=\"409\"} 1");
    assert_contains(text, "shop_http_requests_total{route=\"none\",status=\"404\"} 1");
    assert_contains(text, "shop_http_ms_count{route=\"/refuse\"} 1");
    free(text);
}

static void a_bad_listen_address_is_explained(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "", "nonsense", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:x", "999.1.1.1:0"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct http_server *s;
        struct app_error e = {.text = ""};
        const struct http_server_options o = {
            .listen = bad[i], .tables = {{routes, NULL}}, .workers = 1};
        if (http_server_start(&o, &s, &e) != APP_E_CONFIG || !strstr(e.text, "listen"))
            fail_msg("\"%s\": %s", bad[i], e.text);
    }
    struct http_server *s;
    struct app_error e;
    const struct http_server_options taken = {
        .listen = http_server_address(server), .tables = {{routes, NULL}}, .workers = 1};
    assert_int_equal(http_server_start(&taken, &s, &e), APP_E_IO);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_request_reaches_its_handler_with_path_body_and_key),
        T(wrong_requests_get_4xx_with_a_reason),
        T(a_body_over_the_limit_is_refused_before_it_is_read),
        T(garbage_and_silence_end_the_connection_and_nobody_else_notices),
        T(a_full_queue_answers_503_at_once_and_the_others_are_served),
        T(drain_waits_for_running_requests_and_refuses_new_connections),
        T(failures_say_whether_the_callee_may_have_acted),
        T(requests_are_counted_per_route_and_status),
        T(a_bad_listen_address_is_explained),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
