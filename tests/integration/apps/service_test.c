/* The life of a service process: ready line, ports, shutdown, and the ways in which it refuses to start. */
#include "tests/support/shop/shop.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/process.h"
#include "tests/support/tmpdir.h"

static struct shop_db the_db;
static char program[600], dsn[400], output[600];

static int setup(void **state)
{
    (void)state;
    const char *bin = getenv("HALFPENNY_BIN");
    shop_db_create(&the_db);
    (void)snprintf(program, sizeof program, "%s/shop-stock", bin ? bin : "bin");
    (void)snprintf(dsn, sizeof dsn, "%s", shop_dsn(&the_db, "shop_stock"));
    (void)snprintf(output, sizeof output, "%s", tmpdir_path(tmpdir_new("service"), "out"));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    shop_db_drop(&the_db);
    return 0;
}

/* No name server listens on port 1: the message client keeps trying, the service works without. */
static struct process *start(const char *key, const char *value)
{
    const char *const argv[] = {program,     "--dsn",       dsn,
                                "--namesrv", "127.0.0.1:1", "--boot-wait-ms",
                                "500",       "--order-url", "http://127.0.0.1:1",
                                key,         value,         NULL};
    struct err e;
    struct process *p =
        process_start(&(struct process_options){.argv = argv, .output = output}, &e);
    if (!p)
        fail_msg("%s: %s", program, e.text);
    return p;
}

static void get(const char *address, const char *path, int status, const char *part)
{
    char url[200];
    struct http_answer a;
    struct app_error e;
    (void)snprintf(url, sizeof url, "http://%s%s", address, path);
    assert_app_ok(
        http_do(&(struct http_call){.method = "GET", .url = url, .timeout_ms = 5000}, &a, &e), &e);
    if (a.status != status || (part && !strstr(a.body, part)))
        fail_msg("%s: HTTP %d %s, expected %d %s", url, a.status, a.body, status, part ? part : "");
    http_answer_free(&a);
}

static void a_service_says_ready_serves_two_ports_and_ends_cleanly_on_sigterm(void **state)
{
    (void)state;
    struct process *p = start(NULL, NULL);
    char line[300], http[100], internal[100];
    assert_true(process_wait_line(p, "stock ready", 15000, line, sizeof line));
    assert_int_equal(sscanf(line, "stock ready http=%99s internal=%99s", http, internal), 2);
    get(http, "/healthz", 200, "up");
    get(http, "/metrics", 404, NULL);
    get(internal, "/metrics", 200, "shop_db_connections");
    get(internal, "/admin/failpoints", 200, "stock.try.before_tx");
    assert_int_equal(process_signal(p, SIGTERM), 0);
    assert_int_equal(process_wait(p, 15000), 0);
    process_free(p);
}

/* Runs `shopctl health url`, which is what containers use. */
static int health_of(const char *url, const char *part)
{
    char shopctl[600];
    const char *const bin = getenv("HALFPENNY_BIN");
    (void)snprintf(shopctl, sizeof shopctl, "%s/shopctl", bin != NULL ? bin : "bin");
    const char *const argv[] = {shopctl, "health", "--timeout-ms", "5000", url, NULL};
    struct err e;
    struct process *p = process_start(
        &(struct process_options){.argv = argv, .output = tmpdir_path(tmpdir_new("health"), "out")},
        &e);
    if (!p)
        fail_msg("%s: %s", shopctl, e.text);
    const bool found = process_wait_line(p, part, 15000, NULL, 0);
    const int status = process_wait(p, 15000);
    process_free(p);
    if (!found)
        fail_msg("shopctl health %s: no \"%s\", status %d", url, part, status);
    return status;
}

static void shopctl_health_says_by_its_status_whether_a_service_is_up(void **state)
{
    (void)state;
    struct process *p = start(NULL, NULL);
    char line[300], http[100], internal[100], url[200];
    assert_true(process_wait_line(p, "stock ready", 15000, line, sizeof line));
    assert_int_equal(sscanf(line, "stock ready http=%99s internal=%99s", http, internal), 2);
    (void)snprintf(url, sizeof url, "http://%s", http);
    assert_int_equal(health_of(url, "HTTP 200"), 0);
    (void)snprintf(url, sizeof url, "http://%s/", internal);
    assert_int_equal(health_of(url, "HTTP 200"), 0);
    (void)snprintf(url, sizeof url, "http://%s/elsewhere", http);
    assert_int_equal(health_of(url, "HTTP 404"), 1);
    assert_int_equal(process_signal(p, SIGTERM), 0);
    assert_int_equal(process_wait(p, 15000), 0);
    process_free(p);
    (void)snprintf(url, sizeof url, "http://%s", http);
    assert_int_equal(health_of(url, "shopctl health: "), 2);
}

static void expect_refusal(const char *key, const char *value, const char *part)
{
    struct process *p = start(key, value);
    if (!process_wait_line(p, part, 15000, NULL, 0))
        fail_msg("no \"%s\" for %s %s, see %s", part, key ? key : "", value ? value : "", output);
    const int code = process_wait(p, 15000);
    process_free(p);
    assert_true(code == 1 || code == 2);
}

static void a_service_that_cannot_work_says_why_and_does_not_start(void **state)
{
    (void)state;
    expect_refusal("--listen", "nonsense", "listen \"nonsense\": expected HOST:PORT");
    expect_refusal("--log-level", "loud", "log-level: \"loud\"");
    expect_refusal("--dsn", "host=/nonexistent", "cannot start: database: cannot connect");
    expect_refusal("--instance", "1024", "instance: 1024 is not within 0 and 1023");
    shop_sql(&the_db, "DELETE FROM kit.schema_version");
    expect_refusal(NULL, NULL, "run shopctl schema");
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_service_says_ready_serves_two_ports_and_ends_cleanly_on_sigterm),
        T(shopctl_health_says_by_its_status_whether_a_service_is_up),
        T(a_service_that_cannot_work_says_why_and_does_not_start),
    };
    return cmocka_run_group_tests(tests, shop_cluster_start, shop_cluster_stop);
}
