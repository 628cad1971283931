#include "apps/common/timing.h"

#include "tests/support/test.h"

static void stamps_are_rfc3339_in_utc(void **state)
{
    (void)state;
    char s[TIMING_RFC3339_MAX];
    timing_rfc3339(1769903999123, s);
    assert_string_equal(s, "2026-01-31T23:59:59.123Z");
    assert_true(timing_rfc3339_valid(s));
    timing_rfc3339(-1, s);
    assert_string_equal(s, "");
}

static void only_rfc3339_is_accepted(void **state)
{
    (void)state;
    static const char *const good[] = {"2026-01-31T23:59:59Z", "2026-01-31t23:59:60.5z",
                                       "2026-01-31T23:59:59.123456+08:00"};
    static const char *const bad[] = {"",
                                      "2026-01-31",
                                      "2026-13-31T23:59:59Z",
                                      "2026-01-32T23:59:59Z",
                                      "2026-01-31T24:59:59Z",
                                      "2026-01-31T23:59:59",
                                      "2026-01-31T23:59:59.Z",
                                      "2026-01-31T23:59:59+0800",
                                      "2026-01-31T23:59:59Zx",
                                      "x026-01-31T23:59:59Z"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        if (!timing_rfc3339_valid(good[i]))
            fail_msg("refused: %s", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (timing_rfc3339_valid(bad[i]))
            fail_msg("accepted: %s", bad[i]);
}

static void chance_stays_below_its_bound_and_reaches_all_of_it(void **state)
{
    (void)state;
    unsigned seen = 0;
    for (int i = 0; i < 1000; i++) {
        const uint64_t v = chance_below(5);
        assert_true(v < 5);
        seen |= 1u << v;
    }
    assert_int_equal(seen, 31);
    assert_int_equal(chance_below(0), 0);
    assert_int_equal(chance_below(1), 0);
}

static void a_wait_ends_at_its_deadline(void **state)
{
    (void)state;
    pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
    pthread_cond_t c;
    timing_cond_init(&c);
    pthread_mutex_lock(&m);
    const int64_t deadline = timing_mono_ms() + 30;
    while (timing_cond_wait(&c, &m, deadline))
        ;
    assert_true(timing_mono_ms() >= deadline);
    pthread_mutex_unlock(&m);
    pthread_cond_destroy(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stamps_are_rfc3339_in_utc),
        cmocka_unit_test(only_rfc3339_is_accepted),
        cmocka_unit_test(chance_stays_below_its_bound_and_reaches_all_of_it),
        cmocka_unit_test(a_wait_ends_at_its_deadline),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
