/* shopctl cluster, as an operator calls it before the shop moves to a cluster. */
#include <stdio.h>
#include <stdlib.h>

#include <halfpenny/halfpenny.h>

#include "apps/common/envelope.h"
#include "tests/support/mq/mq_process.h"
#include "tests/support/process.h"
#include "tests/support/test.h"
#include "tests/support/tmpdir.h"
#include "tests/support/wait.h"

static struct mq_process ns, broker;
static char program[600], output[600];

static int setup(void **state)
{
    (void)state;
    const char *const bin = getenv("HALFPENNY_BIN");
    (void)snprintf(program, sizeof program, "%s/shopctl", bin != NULL ? bin : "bin");
    (void)snprintf(output, sizeof output, "%s", tmpdir_path(tmpdir_new("shopctl"), "out"));
    mq_namesrv_start(&ns, tmpdir_new("cluster-ns"), NULL);
    mq_broker_start(&broker, tmpdir_new("cluster"), ns.address, "autoCreateTopicEnable=false\n",
                    NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    mq_stop(&broker);
    mq_stop(&ns);
    return 0;
}

/* Runs `shopctl cluster --namesrv NS a b`; its output must contain part. */
static void expect(int status, const char *part, const char *a, const char *b)
{
    const char *const argv[] = {program, "cluster", "--namesrv", ns.address, a, b, NULL};
    struct err e;
    struct process *p =
        process_start(&(struct process_options){.argv = argv, .output = output}, &e);
    if (p == NULL)
        fail_msg("%s: %s", program, e.text);
    const bool found = process_wait_line(p, part, 30000, NULL, 0);
    const int got = process_wait(p, 30000);
    process_free(p);
    if (!found || got != status)
        fail_msg("shopctl cluster %s %s: status %d, want %d; \"%s\" %s in %s", a ? a : "",
                 b ? b : "", got, status, part, found ? "is" : "is not", output);
}

/* The same, for the table's row of a name, whose state must begin so. */
static void expect_row(const char *name, const char *state_text, const char *a, const char *b)
{
    char part[200];
    (void)snprintf(part, sizeof part, "%-34s %s", name, state_text); /* the longest name has 34 */
    expect(0, part, a, b);
}

static void topics_and_groups_that_are_missing_are_made_when_asked(void **state)
{
    (void)state;
    expect(1, "MISSING: --create makes it", NULL, NULL);
    expect_row(TOPIC_PAY, "created, 3 queues", "--create", "--queues=3");
    expect_row(TOPIC_PAY, "3 queues", NULL, NULL);
    expect_row(GROUP_COUPON_ORDER "_dlq", "0 members", NULL, NULL);
    expect(2, "no cluster \"elsewhere\"", "--cluster", "elsewhere");
}

static void a_setting_that_is_not_told_is_said_and_does_not_fail(void **state)
{
    (void)state;
    expect_row("flushDiskType", "not known", "--create", NULL);
    expect(2, "messageDelayLevel", "--setting", "messageDelayLevel");
}

static enum hp_consume_result consume(void *arg, const hp_message_view *v)
{
    (void)arg;
    (void)v;
    return HP_CONSUME_SUCCESS;
}

static bool has_member(void *arg)
{
    struct hp_error err = {0};
    int n = 0;
    return hp_group_members(arg, "DefaultCluster", GROUP_LOG_PAY, 10000, &n, &err) == 0 && n == 1;
}

static void a_cluster_with_a_shop_on_it_is_not_idle(void **state)
{
    (void)state;
    struct hp_error err = {0};
    hp_client *c = NULL;
    hp_consumer *k = NULL;
    expect_row(GROUP_LOG_PAY, "created, 0 members", "--create", "--idle");
    const struct hp_client_options co = {.namesrv_addr = ns.address};
    const struct hp_consumer_options o = {.group = GROUP_LOG_PAY, .consume = consume};
    assert_int_equal(hp_client_new(&co, &c, &err), HP_OK);
    assert_int_equal(hp_consumer_new(c, &o, &k, &err), HP_OK);
    assert_int_equal(hp_consumer_subscribe(k, TOPIC_PAY, "*", &err), HP_OK);
    assert_int_equal(hp_consumer_start(k, &err), HP_OK);
    if (!wait_until(has_member, c, 30000))
        fail_msg("no member of %s", GROUP_LOG_PAY);
    expect(1, "1 groups of the shop have members", "--idle", NULL);
    expect_row(GROUP_LOG_PAY, "1 member", NULL, NULL);
    hp_consumer_free(k);
    hp_client_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(topics_and_groups_that_are_missing_are_made_when_asked),
        cmocka_unit_test(a_setting_that_is_not_told_is_said_and_does_not_fail),
        cmocka_unit_test(a_cluster_with_a_shop_on_it_is_not_idle),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
