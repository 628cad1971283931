#include "tests/support/test.h"

#include "remoting/deadline.h"
#include "tests/support/seed.h"

enum { N = 500 };

static void deadlines_come_out_earliest_first(void **state)
{
    (void)state;
    struct rng rng = test_rng("deadlines");
    struct deadlines h = {0};
    struct deadline d[N] = {0};
    for (int i = 0; i < N; i++) {
        d[i].at_ms = (int64_t)rng_below(&rng, 100);
        assert_int_equal(deadlines_add(&h, &d[i]), 0);
    }
    int64_t last = 0;
    for (int i = 0; i < N; i++) {
        struct deadline *first = deadlines_first(&h);
        assert_true(first->at_ms >= last);
        last = first->at_ms;
        deadlines_remove(&h, first);
    }
    assert_null(deadlines_first(&h));
    deadlines_fini(&h);
}

/* The earliest by looking at all of them. */
static int64_t earliest(const struct deadline *d, int n)
{
    int64_t at = INT64_MAX;
    for (int i = 0; i < n; i++)
        if (d[i].pos != 0 && d[i].at_ms < at)
            at = d[i].at_ms;
    return at;
}

static void removing_from_the_middle_keeps_the_order(void **state)
{
    (void)state;
    struct rng rng = test_rng("deadline removal");
    struct deadlines h = {0};
    struct deadline d[64] = {0};
    for (int step = 0; step < 20000; step++) {
        struct deadline *one = &d[rng_below(&rng, 64)];
        if (one->pos != 0) {
            deadlines_remove(&h, one);
            assert_int_equal(one->pos, 0);
        } else {
            one->at_ms = (int64_t)rng_below(&rng, 1000);
            assert_int_equal(deadlines_add(&h, one), 0);
        }
        const struct deadline *first = deadlines_first(&h);
        assert_int_equal(first == NULL ? INT64_MAX : first->at_ms, earliest(d, 64));
    }
    deadlines_fini(&h);
}

static void removing_what_is_not_there_does_nothing(void **state)
{
    (void)state;
    struct deadlines h = {0};
    struct deadline in = {.at_ms = 1}, out = {.at_ms = 2};
    assert_int_equal(deadlines_add(&h, &in), 0);
    deadlines_remove(&h, &out);
    assert_ptr_equal(deadlines_first(&h), &in);
    deadlines_fini(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(deadlines_come_out_earliest_first),
        cmocka_unit_test(removing_from_the_middle_keeps_the_order),
        cmocka_unit_test(removing_what_is_not_there_does_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
