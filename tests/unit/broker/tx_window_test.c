/* States of half messages: what is decided stays decided, memory follows what is undecided. */
#include "broker/tx_window.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/rng.h"

static void must_set(struct tx_window *w, int64_t offset, enum tx_state s)
{
    assert_int_equal(tx_window_set(w, offset, s), 0);
}

static void an_empty_window_has_nothing_decided_from_its_start_on(void **state)
{
    (void)state;
    struct tx_window w;
    assert_int_equal(tx_window_init(&w, 0), 0);
    assert_int_equal(tx_window_low(&w), 0);
    assert_int_equal(tx_window_get(&w, 0), TX_UNDECIDED);
    assert_int_equal(tx_window_get(&w, 123456789), TX_UNDECIDED);
    tx_window_free(&w);
}

static void everything_below_the_start_is_decided(void **state)
{
    (void)state;
    struct tx_window w;
    assert_int_equal(tx_window_init(&w, 4321), 0);
    assert_int_equal(tx_window_low(&w), 4321);
    assert_int_equal(tx_window_get(&w, 0), TX_DECIDED);
    assert_int_equal(tx_window_get(&w, 4320), TX_DECIDED);
    assert_int_equal(tx_window_get(&w, 4321), TX_UNDECIDED);
    tx_window_free(&w);
}

static void low_waits_for_the_oldest_undecided_half(void **state)
{
    (void)state;
    struct tx_window w;
    assert_int_equal(tx_window_init(&w, 0), 0);
    for (int64_t i = 1; i < 5000; i++)
        must_set(&w, i, TX_DECIDED);
    assert_int_equal(tx_window_low(&w), 0);
    must_set(&w, 0, TX_DECIDING);
    assert_int_equal(tx_window_low(&w), 0);
    must_set(&w, 0, TX_UNDECIDED);
    assert_int_equal(tx_window_get(&w, 0), TX_UNDECIDED);
    must_set(&w, 0, TX_DECIDED);
    assert_int_equal(tx_window_low(&w), 5000);
    assert_true(w.n <= 1);
    tx_window_free(&w);
}

static void random_decisions_agree_with_a_plain_array(void **state)
{
    (void)state;
    enum { N = 20000 };
    const uint64_t seed = rng_seed_from_os();
    struct rng r;
    rng_seed(&r, seed);
    unsigned char *const plain = calloc(N, 1);
    assert_non_null(plain);
    struct tx_window w;
    assert_int_equal(tx_window_init(&w, 0), 0);
    for (int step = 0; step < 200000; step++) {
        const int64_t at = (int64_t)rng_below(&r, N);
        if (tx_window_get(&w, at) != (enum tx_state)plain[at])
            fail_msg("seed %llu: offset %lld is %d, want %d", (unsigned long long)seed, (long long)at,
                     (int)tx_window_get(&w, at), plain[at]);
        if (plain[at] == TX_DECIDED)
            continue;
        plain[at] = (unsigned char)rng_below(&r, 3);
        must_set(&w, at, (enum tx_state)plain[at]);
        if (step % 1000 == 0) {
            int64_t low = 0;
            while (low < N && plain[low] == TX_DECIDED)
                low++;
            assert_int_equal(tx_window_low(&w), low);
        }
    }
    tx_window_free(&w);
    free(plain);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_window_has_nothing_decided_from_its_start_on),
        cmocka_unit_test(everything_below_the_start_is_decided),
        cmocka_unit_test(low_waits_for_the_oldest_undecided_half),
        cmocka_unit_test(random_decisions_agree_with_a_plain_array),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
