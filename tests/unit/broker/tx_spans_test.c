/* Op records that a start may need: dropped when useless, never before, and bounded in number. */
#include "broker/tx_spans.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static void must_push(struct tx_spans *s, int64_t offset, int64_t half_max, int64_t low)
{
    const struct op_span one = {
        .offset = offset, .half_max = half_max, .low = low, .end_phys = (offset + 1) * 100};
    assert_int_equal(tx_spans_push(s, &one), 0);
}

static void a_record_goes_when_all_it_names_lies_below_a_durable_low(void **state)
{
    (void)state;
    struct tx_spans s = {0};
    int64_t low = 0;
    must_push(&s, 0, 5, 0);
    must_push(&s, 1, 7, 6);
    must_push(&s, 2, 8, 8);
    tx_spans_progress(&s, 200, &low);
    assert_int_equal(low, 6);
    assert_int_equal(s.n, 2);
    assert_int_equal(s.v[0].offset, 1);
    tx_spans_free(&s);
}

static void what_is_not_on_disk_decides_nothing(void **state)
{
    (void)state;
    struct tx_spans s = {0};
    int64_t low = 0;
    must_push(&s, 0, 5, 0);
    must_push(&s, 1, 7, 8);
    tx_spans_progress(&s, 199, &low);
    assert_int_equal(low, 0);
    assert_int_equal(s.n, 2);
    tx_spans_progress(&s, 200, &low);
    assert_int_equal(low, 8);
    assert_int_equal(s.n, 1); /* the newest stays */
    assert_int_equal(s.v[0].offset, 1);
    tx_spans_free(&s);
}

/* Half 0 stays undecided while many others are decided, one op record each. */
static void one_old_half_does_not_let_the_list_grow_without_bound(void **state)
{
    (void)state;
    struct tx_spans s = {0};
    const int64_t records = INT64_C(5) * TX_SPANS_MAX + 3;
    int64_t low = 0;
    for (int64_t i = 0; i < records; i++) {
        must_push(&s, i, i + 1, 0);
        assert_true(s.n <= TX_SPANS_MAX);
    }
    tx_spans_progress(&s, records * 100, &low);
    assert_int_equal(low, 0);
    assert_int_equal(s.v[0].offset, 0); /* a start would read them all */
    int64_t end = 0;
    for (size_t i = 0; i < s.n; i++) {
        assert_true(s.v[i].end_phys > end);
        end = s.v[i].end_phys;
    }
    assert_int_equal(end, records * 100);
    must_push(&s, records, 0, records + 1); /* half 0 is decided at last */
    tx_spans_progress(&s, (records + 1) * 100, &low);
    assert_int_equal(low, records + 1);
    assert_int_equal(s.n, 1);
    tx_spans_free(&s);
}

static void a_joined_span_waits_for_the_later_of_its_records(void **state)
{
    (void)state;
    struct tx_spans s = {0};
    int64_t low = 0;
    for (int64_t i = 0; i <= TX_SPANS_MAX; i++)
        must_push(&s, i, i == 0 ? 1000000 : i, 0); /* the first names the greatest half */
    assert_int_equal(s.v[0].half_max, 1000000);
    assert_int_equal(s.v[0].end_phys, 200);
    must_push(&s, TX_SPANS_MAX + 1, 1, 1000000); /* everything below a million */
    tx_spans_progress(&s, INT64_MAX, &low);
    assert_int_equal(s.v[0].offset, 0);
    must_push(&s, TX_SPANS_MAX + 2, 1, 1000001);
    tx_spans_progress(&s, INT64_MAX, &low);
    assert_int_equal(s.n, 1);
    tx_spans_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_record_goes_when_all_it_names_lies_below_a_durable_low),
        cmocka_unit_test(what_is_not_on_disk_decides_nothing),
        cmocka_unit_test(one_old_half_does_not_let_the_list_grow_without_bound),
        cmocka_unit_test(a_joined_span_waits_for_the_later_of_its_records),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
