/* tests/chaos/account.c: it finds what is wrong, and nothing else. The broker's answers are made here, in
 * place of bench/wire.c. */
#include "bench/wire.h"
#include "tests/chaos/account.h"
#include "tests/support/test.h"

enum { MOST = 64 };

static struct queue { /* what the broker would give of queue 0 */
    struct message m[MOST];
    char bodies[MOST][ACCOUNT_BODY_MAX + 1];
    int n;
    int64_t end;     /* told as its end */
    int unreadable;  /* index that cannot be read; -1 */
} queue;

int wire_max_offset(int fd, const char *topic, int queue_id, int64_t *out, struct err *e)
{
    (void)fd, (void)topic, (void)e;
    *out = queue_id == 0 ? queue.end : 0;
    return 0;
}

int wire_read_queue(int fd, const char *topic, int queue_id, int64_t from, int64_t to,
                    int (*each)(void *arg, const struct message *m, struct err *e), void *arg, struct err *e)
{
    (void)fd, (void)topic;
    for (int i = 0; queue_id == 0 && i < queue.n; i++) {
        if (queue.m[i].queue_offset < from || queue.m[i].queue_offset >= to)
            continue;
        if (i == queue.unreadable)
            return err_set(e, E_CORRUPT, "bad record");
        const int rc = each(arg, &queue.m[i], e);
        if (rc != 0)
            return rc;
    }
    return 0;
}

static void put(const struct account *a, int64_t seq, int64_t offset)
{
    struct message *const m = &queue.m[queue.n];
    char *const body = queue.bodies[queue.n++];
    *m = (struct message){.queue_offset = offset, .body = slice_of(body, account_body(a, seq, body))};
    if (offset >= queue.end)
        queue.end = offset + 1;
}

/* Five messages of two lanes, acknowledged at offsets 0 to 4. */
static void setup(struct account *a)
{
    queue.n = 0;
    queue.end = 0;
    queue.unreadable = -1;
    account_init(a, 7);
    for (int i = 0; i < 5; i++)
        account_acked(a, account_new(a, i % 2, 0), i);
}

static void judge(struct account *a)
{
    struct err e = {0};
    assert_ok(account_read(a, -1, &e), &e);
}

static void expect(const struct account *a, int64_t lost, int64_t invented, int64_t gaps, int64_t disorder)
{
    if (a->lost != lost || a->invented != invented || a->gaps != gaps || a->disorder != disorder)
        fail_msg("lost %lld invented %lld gaps %lld disorder %lld instead of %lld %lld %lld %lld: %s",
                 (long long)a->lost, (long long)a->invented, (long long)a->gaps, (long long)a->disorder,
                 (long long)lost, (long long)invented, (long long)gaps, (long long)disorder, a->first);
}

static void what_is_as_promised_is_no_finding_also_when_read_twice(void **state)
{
    struct account a;
    (void)state;
    setup(&a);
    for (int i = 0; i < 5; i++)
        put(&a, i, i);
    judge(&a);
    account_rewind(&a);
    judge(&a);
    expect(&a, 0, 0, 0, 0);
    assert_int_equal(a.stored, 5);
    assert_int_equal(a.acked, 5);
    account_free(&a);
}

static void an_acknowledged_message_that_is_missing_is_lost(void **state)
{
    struct account a;
    (void)state;
    setup(&a);
    for (int i = 0; i < 4; i++)
        put(&a, i, i);
    judge(&a);
    expect(&a, 1, 0, 0, 0);
    assert_contains(a.first, "message 4");
    account_free(&a);
}

static void a_message_at_another_offset_than_told_is_lost(void **state)
{
    struct account a;
    (void)state;
    setup(&a);
    put(&a, 0, 0);
    put(&a, 3, 1); /* lanes 0 and 1: no disorder until 1 comes */
    put(&a, 2, 2);
    put(&a, 1, 3);
    put(&a, 4, 4);
    judge(&a);
    expect(&a, 2, 0, 0, 1);
    account_free(&a);
}

static void a_message_that_is_there_twice_is_invented(void **state)
{
    struct account a;
    (void)state;
    setup(&a);
    for (int i = 0; i < 5; i++)
        put(&a, i, i);
    put(&a, 4, 5);
    judge(&a);
    expect(&a, 0, 1, 0, 1);
    account_free(&a);
}

static void a_message_with_another_byte_is_invented_and_its_original_lost(void **state)
{
    struct account a;
    (void)state;
    setup(&a);
    for (int i = 0; i < 5; i++)
        put(&a, i, i);
    queue.bodies[2][queue.m[2].body.n - 1] ^= 1;
    judge(&a);
    expect(&a, 1, 1, 0, 0);
    account_free(&a);
}

static void a_missing_offset_is_a_gap(void **state)
{
    struct account a;
    (void)state;
    setup(&a);
    for (int i = 0; i < 5; i++)
        put(&a, i, i < 4 ? i : 5);
    judge(&a);
    expect(&a, 1, 0, 1, 0);
    account_free(&a);
}

static void a_record_that_cannot_be_read_is_a_gap_and_what_is_behind_it_is_read(void **state)
{
    struct account a;
    (void)state;
    setup(&a);
    for (int i = 0; i < 5; i++)
        put(&a, i, i);
    queue.unreadable = 1;
    judge(&a);
    expect(&a, 1, 0, 1, 0);
    assert_int_equal(a.stored, 4);
    account_free(&a);
}

static void a_queue_that_ends_earlier_than_before_is_a_gap(void **state)
{
    struct account a;
    (void)state;
    setup(&a);
    for (int i = 0; i < 5; i++)
        put(&a, i, i);
    judge(&a);
    queue.end = 3;
    judge(&a);
    expect(&a, 0, 0, 1, 0);
    account_free(&a);
}

static void without_an_answer_it_may_be_there_but_not_come_later(void **state)
{
    struct account a;
    (void)state;
    setup(&a);
    const int64_t there = account_new(&a, 0, 0), not_there = account_new(&a, 1, 0);
    for (int i = 0; i < 5; i++)
        put(&a, i, i);
    put(&a, there, 5);
    judge(&a);
    expect(&a, 0, 0, 0, 0);
    put(&a, not_there, 6);
    judge(&a);
    expect(&a, 0, 1, 0, 0);
    account_rewind(&a);
    queue.n = queue.n - 2; /* and what was seen must stay */
    queue.end = 5;
    judge(&a);
    expect(&a, 1, 1, 0, 0);
    account_free(&a);
}

static void what_was_refused_must_not_be_there(void **state)
{
    struct account a;
    (void)state;
    setup(&a);
    const int64_t refused = account_new(&a, 0, 0);
    account_refused(&a, refused);
    for (int i = 0; i < 5; i++)
        put(&a, i, i);
    judge(&a);
    expect(&a, 0, 0, 0, 0);
    put(&a, refused, 5);
    judge(&a);
    expect(&a, 0, 1, 0, 0);
    account_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_as_promised_is_no_finding_also_when_read_twice),
        cmocka_unit_test(an_acknowledged_message_that_is_missing_is_lost),
        cmocka_unit_test(a_message_at_another_offset_than_told_is_lost),
        cmocka_unit_test(a_message_that_is_there_twice_is_invented),
        cmocka_unit_test(a_message_with_another_byte_is_invented_and_its_original_lost),
        cmocka_unit_test(a_missing_offset_is_a_gap),
        cmocka_unit_test(a_record_that_cannot_be_read_is_a_gap_and_what_is_behind_it_is_read),
        cmocka_unit_test(a_queue_that_ends_earlier_than_before_is_a_gap),
        cmocka_unit_test(without_an_answer_it_may_be_there_but_not_come_later),
        cmocka_unit_test(what_was_refused_must_not_be_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
