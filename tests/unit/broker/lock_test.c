/* Unit tests of broker/lock.c. */
#include "broker/lock.h"

#include "tests/support/test.h"

#define G SLICE_LIT("g")
#define A SLICE_LIT("client-a")
#define B SLICE_LIT("client-b")

static const struct mq_ref q0 = {{"t", 1}, {"broker", 6}, 0}, q1 = {{"t", 1}, {"broker", 6}, 1};

static void a_queue_has_one_owner_until_it_lets_go(void **state)
{
    (void)state;
    struct locks *l = locks_new(&clock_system, 10);
    assert_true(locks_take(l, G, &q0, A));
    assert_true(locks_take(l, G, &q0, A));
    assert_false(locks_take(l, G, &q0, B));
    assert_true(locks_take(l, G, &q1, B));
    assert_true(locks_take(l, SLICE_LIT("other"), &q0, B));
    locks_release(l, G, &q0, B);
    assert_false(locks_take(l, G, &q0, B));
    locks_release(l, G, &q0, A);
    assert_true(locks_take(l, G, &q0, B));
    assert_int_equal(locks_count(l), 3);
    locks_free(l);
}

static void a_lock_lives_sixty_seconds_after_its_last_renewal(void **state)
{
    (void)state;
    struct clock_fake c;
    clock_fake_init(&c, 0, 1000);
    struct locks *l = locks_new(&c.base, 10);
    assert_true(locks_take(l, G, &q0, A));
    clock_fake_advance(&c, LOCK_LIVE_MS);
    assert_false(locks_take(l, G, &q0, B));
    assert_true(locks_group_live(l, G));
    assert_true(locks_take(l, G, &q0, A));
    clock_fake_advance(&c, LOCK_LIVE_MS + 1);
    assert_false(locks_group_live(l, G));
    assert_true(locks_take(l, G, &q0, B));
    assert_false(locks_take(l, G, &q0, A));
    locks_free(l);
}

static void the_sweep_frees_what_expired_and_the_limit_holds(void **state)
{
    (void)state;
    struct clock_fake c;
    clock_fake_init(&c, 0, 1000);
    struct locks *l = locks_new(&c.base, 1);
    assert_true(locks_take(l, G, &q0, A));
    assert_false(locks_take(l, G, &q1, A));
    locks_expire(l);
    assert_int_equal(locks_count(l), 1);
    clock_fake_advance(&c, LOCK_LIVE_MS + 1);
    locks_expire(l);
    assert_int_equal(locks_count(l), 0);
    assert_true(locks_take(l, G, &q1, A));
    locks_free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_queue_has_one_owner_until_it_lets_go),
        cmocka_unit_test(a_lock_lives_sixty_seconds_after_its_last_renewal),
        cmocka_unit_test(the_sweep_frees_what_expired_and_the_limit_holds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
