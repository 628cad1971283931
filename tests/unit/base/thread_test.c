/* base/thread.c: no wake is lost, stop finishes what was handed over. */
#include "tests/support/test.h"

#include <stdatomic.h>

#include "base/thread.h"
#include "tests/support/wait.h"

struct job {
    struct worker w;
    atomic_int queued, done, rounds;
};

/* Works off one unit a step. */
static bool step(void *arg)
{
    struct job *j = arg;
    if (atomic_load(&j->done) == atomic_load(&j->queued)) {
        atomic_fetch_add(&j->rounds, 1);
        return false;
    }
    atomic_fetch_add(&j->done, 1);
    return true;
}

static bool all_done(void *arg)
{
    struct job *j = arg;
    return atomic_load(&j->done) == atomic_load(&j->queued);
}

static bool has_idled_three_times(void *arg)
{
    struct job *j = arg;
    return atomic_load(&j->rounds) >= 3;
}

static void start(struct job *j, int64_t idle_ms)
{
    struct err e;
    assert_ok(worker_start(&j->w, "test", idle_ms, step, j, &e), &e);
}

static void a_worker_works_until_there_is_nothing_and_again_when_woken(void **state)
{
    (void)state;
    struct job j = {0};
    start(&j, -1);
    for (int i = 0; i < 200; i++) {
        atomic_fetch_add(&j.queued, 3);
        worker_wake(&j.w);
        assert_true(wait_until(all_done, &j, 10000));
    }
    worker_stop(&j.w);
    assert_int_equal(j.done, 600);
}

struct waker {
    struct job *j;
    int n;
};

static void wake_often(void *arg)
{
    struct waker *k = arg;
    for (int i = 0; i < k->n; i++) {
        atomic_fetch_add(&k->j->queued, 1);
        worker_wake(&k->j->w);
    }
}

static void wakes_of_many_threads_are_not_lost(void **state)
{
    (void)state;
    struct job j = {0};
    struct waker k = {&j, 5000};
    uv_thread_t threads[4];
    start(&j, -1);
    for (int i = 0; i < 4; i++)
        assert_int_equal(uv_thread_create(&threads[i], wake_often, &k), 0);
    for (int i = 0; i < 4; i++)
        uv_thread_join(&threads[i]);
    assert_true(wait_until(all_done, &j, 10000)); /* without a further wake */
    assert_int_equal(j.done, 20000);
    worker_stop(&j.w);
}

/* Wakes itself in its first round, then says that there is nothing to do. */
static bool wake_self_once(void *arg)
{
    struct job *j = arg;
    if (atomic_fetch_add(&j->rounds, 1) == 0)
        worker_wake(&j->w);
    return false;
}

static bool has_had_two_rounds(void *arg)
{
    struct job *j = arg;
    return atomic_load(&j->rounds) >= 2;
}

static void a_wake_between_the_last_step_and_the_sleep_is_not_lost(void **state)
{
    (void)state;
    struct job j = {0};
    struct err e;
    assert_ok(worker_start(&j.w, "test", -1, wake_self_once, &j, &e), &e);
    assert_true(wait_until(has_had_two_rounds, &j, 10000));
    worker_stop(&j.w);
}

static void stopping_works_off_what_was_handed_over(void **state)
{
    (void)state;
    for (int i = 0; i < 100; i++) {
        struct job j = {0};
        start(&j, -1);
        atomic_store(&j.queued, 50); /* nobody wakes it */
        worker_stop(&j.w);
        assert_int_equal(j.done, 50);
    }
}

static void an_idle_worker_steps_by_itself(void **state)
{
    (void)state;
    struct job j = {0};
    start(&j, 1);
    assert_true(wait_until(has_idled_three_times, &j, 10000));
    worker_stop(&j.w);
}

static void stop_and_wake_are_safe_when_nothing_runs(void **state)
{
    (void)state;
    struct job j = {0};
    worker_wake(&j.w);
    worker_stop(&j.w);
    start(&j, -1);
    worker_stop(&j.w);
    worker_stop(&j.w);
    worker_wake(&j.w);
    start(&j, -1); /* and it can be started again */
    worker_stop(&j.w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_worker_works_until_there_is_nothing_and_again_when_woken),
        cmocka_unit_test(wakes_of_many_threads_are_not_lost),
        cmocka_unit_test(a_wake_between_the_last_step_and_the_sleep_is_not_lost),
        cmocka_unit_test(stopping_works_off_what_was_handed_over),
        cmocka_unit_test(an_idle_worker_steps_by_itself),
        cmocka_unit_test(stop_and_wake_are_safe_when_nothing_runs),
    };
    return cmocka_run_group_tests_name("thread", tests, NULL, NULL);
}
