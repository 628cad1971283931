#include "tests/support/test.h"

#include <limits.h>
#include <stdlib.h>

#include "remoting/loop.h"
#include "tests/support/wait.h"

enum { DEADLINE_MS = 20000, LOOK_NS = 50000 };

struct fixture;
struct letter {
    struct mail mail;
    struct fixture *fixture;
    int number;
};
struct fixture {
    struct loop loop;
    struct turn_hook first, second, wishes;
    int turns[2];      /* loop thread */
    char order[64];    /* which hook ran, in order */
    size_t order_n;
    bool seen_current;
    _Atomic int delivered;
    struct letter letters[1000];
    int numbers[1000];
    uv_timer_t timer;
    _Atomic bool timer_seen;
    bool timer_fired;
    bool cut_seen;
    uv_idle_t idle;
    struct busy_poll busy_before, busy_seen; /* the loop's thread, until done */
    int turns_seen;
    _Atomic bool done;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct err e = {0};
    assert_ok(loop_start(&f->loop, "loop under test", 3, &e), &e);
    *state = f;
    return 0;
}

static void wish(struct turn_hook *h)
{
    loop_busy_poll(&LIST_ENTRY(h, struct fixture, wishes)->loop, LOOK_NS);
}

static void poll_busily(void *arg)
{
    struct fixture *f = arg;
    f->wishes = (struct turn_hook){.fn = wish};
    loop_hook_add(&f->loop, &f->wishes);
}

static int setup_polling(void **state)
{
    setup(state);
    assert_int_equal(loop_call(&((struct fixture *)*state)->loop, poll_busily, *state), 0);
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    loop_stop(&f->loop);
    loop_stop(&f->loop); /* twice is fine */
    free(f);
    return 0;
}

static void look_around(void *arg)
{
    struct fixture *f = arg;
    f->seen_current = loop_is_current(&f->loop);
}

static void a_call_runs_on_the_loop_and_is_waited_for(void **state)
{
    struct fixture *f = *state;
    assert_false(loop_is_current(&f->loop));
    assert_int_equal(loop_call(&f->loop, look_around, f), 0);
    assert_true(f->seen_current);
    assert_int_equal(f->loop.index, 3);
    assert_string_equal(f->loop.name, "loop under test");
}

static void deliver(struct mail *m)
{
    struct letter *letter = LIST_ENTRY(m, struct letter, mail);
    struct fixture *f = letter->fixture;
    f->numbers[f->delivered] = letter->number;
    f->delivered++;
}

static bool all_delivered(void *arg)
{
    return ((struct fixture *)arg)->delivered == 1000;
}

static void mail_is_delivered_in_order(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 1000; i++) {
        f->letters[i] = (struct letter){{.deliver = deliver}, f, i};
        assert_int_equal(loop_post(&f->loop, &f->letters[i].mail), 0);
    }
    assert_true(wait_until(all_delivered, f, DEADLINE_MS));
    for (int i = 0; i < 1000; i++)
        assert_int_equal(f->numbers[i], i);
}

static void note_order(struct fixture *f, char c)
{
    if (f->order_n < sizeof f->order - 1)
        f->order[f->order_n++] = c;
}

static void first_hook(struct turn_hook *h)
{
    struct fixture *f = LIST_ENTRY(h, struct fixture, first);
    f->turns[0]++;
    note_order(f, '1');
}

static void second_hook(struct turn_hook *h)
{
    struct fixture *f = LIST_ENTRY(h, struct fixture, second);
    f->turns[1]++;
    note_order(f, '2');
}

static void add_hooks(void *arg)
{
    struct fixture *f = arg;
    f->second = (struct turn_hook){.rank = 10, .fn = second_hook};
    f->first = (struct turn_hook){.rank = 0, .fn = first_hook};
    loop_hook_add(&f->loop, &f->second);
    loop_hook_add(&f->loop, &f->first);
}

static void remove_hooks(void *arg)
{
    struct fixture *f = arg;
    loop_hook_remove(&f->first);
    loop_hook_remove(&f->second);
}

static void nothing(void *arg)
{
    (void)arg;
}

static void hooks_run_every_turn_lower_rank_first(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(loop_call(&f->loop, add_hooks, f), 0);
    for (int i = 0; i < 5; i++)
        assert_int_equal(loop_call(&f->loop, nothing, f), 0);
    assert_int_equal(loop_call(&f->loop, remove_hooks, f), 0);
    assert_true(f->turns[0] >= 5);
    assert_int_equal(f->turns[0], f->turns[1]);
    for (size_t i = 0; i < f->order_n; i++)
        assert_int_equal(f->order[i], i % 2 == 0 ? '1' : '2');
    int turns = f->turns[0];
    assert_int_equal(loop_call(&f->loop, nothing, f), 0);
    assert_int_equal(f->turns[0], turns); /* removed is removed */
}

static void cut(void *arg)
{
    struct fixture *f = arg;
    uint64_t turn = f->loop.turn;
    int before = f->turns[0];
    loop_cut_turn(&f->loop);
    f->cut_seen = f->turns[0] == before + 1 && f->turns[1] == f->turns[0] && f->loop.turn == turn;
}

static void a_cut_runs_the_hooks_within_the_turn(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(loop_call(&f->loop, add_hooks, f), 0);
    assert_int_equal(loop_call(&f->loop, cut, f), 0);
    assert_int_equal(loop_call(&f->loop, remove_hooks, f), 0);
    assert_true(f->cut_seen);
}

static void hook_after_timer(struct turn_hook *h)
{
    struct fixture *f = LIST_ENTRY(h, struct fixture, first);
    if (f->timer_fired)
        f->timer_seen = true;
}

static void on_timer(uv_timer_t *t)
{
    struct fixture *f = LIST_ENTRY(t, struct fixture, timer);
    f->timer_fired = true; /* and nothing that would wake the loop or keep it from sleeping */
}

static void close_timer(void *arg)
{
    struct fixture *f = arg;
    loop_hook_remove(&f->first);
    uv_close((uv_handle_t *)&f->timer, NULL);
}

static void start_timer(void *arg)
{
    struct fixture *f = arg;
    f->first = (struct turn_hook){.fn = hook_after_timer};
    loop_hook_add(&f->loop, &f->first);
    uv_timer_init(&f->loop.uv, &f->timer);
    uv_timer_start(&f->timer, on_timer, 20, 0);
}

static bool timer_was_seen(void *arg)
{
    return ((struct fixture *)arg)->timer_seen;
}

static void hooks_see_a_timer_s_work_before_the_loop_sleeps(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(loop_call(&f->loop, start_timer, f), 0);
    bool seen = wait_until(timer_was_seen, f, DEADLINE_MS);
    assert_int_equal(loop_call(&f->loop, close_timer, f), 0);
    assert_true(seen);
}

/* --- busy polling --- */

static void see_busy(struct fixture *f)
{
    f->busy_seen = f->loop.busy;
}

static void look_at_busy(void *arg)
{
    see_busy(arg);
}

enum { LOOKS = 12, ECHOES = 300, IDLE_TURNS = 100 };

static void on_tick(uv_timer_t *t)
{
    struct fixture *f = LIST_ENTRY(t, struct fixture, timer);
    see_busy(f);
    f->turns_seen++;
    if (f->busy_seen.runs < LOOKS)
        return;
    uv_close((uv_handle_t *)t, NULL);
    f->done = true;
}

static void start_ticking(void *arg)
{
    struct fixture *f = arg;
    uv_timer_init(&f->loop.uv, &f->timer);
    uv_timer_start(&f->timer, on_tick, 1, 1);
}

static bool is_done(void *arg)
{
    return ((struct fixture *)arg)->done;
}

static void echo(struct mail *m)
{
    struct fixture *f = LIST_ENTRY(m, struct letter, mail)->fixture;
    see_busy(f);
    if (++f->turns_seen == ECHOES)
        f->done = true;
    else
        MQ_ASSERT(loop_post(&f->loop, m) == 0);
}

static void looks_in_vain_become_rare_until_one_finds_something(void **state)
{
    struct fixture *f = *state;
    if (uv_available_parallelism() < 2)
        skip();
    assert_int_equal(loop_call(&f->loop, start_ticking, f), 0);
    assert_true(wait_until(is_done, f, DEADLINE_MS));
    assert_int_equal(f->busy_seen.vain, BUSY_POLL_SKIP_MAX);
    /* The first looks may find the mail of the calls. */
    assert_in_range(f->turns_seen, 1 + 2 + 4 + 8 + 16 + 32 + 64 + 64, INT_MAX);
    f->done = false;
    f->turns_seen = 0;
    f->letters[0] = (struct letter){{.deliver = echo}, f, 0};
    assert_int_equal(loop_post(&f->loop, &f->letters[0].mail), 0);
    assert_true(wait_until(is_done, f, DEADLINE_MS));
    assert_int_equal(f->busy_seen.vain, 0);
    assert_in_range(f->busy_seen.runs, ECHOES - BUSY_POLL_SKIP_MAX, ECHOES + LOOKS + 1);
}

static void on_idle(uv_idle_t *i)
{
    struct fixture *f = LIST_ENTRY(i, struct fixture, idle);
    if (f->turns_seen++ == 1)
        f->busy_before = f->loop.busy;
    if (f->turns_seen < IDLE_TURNS)
        return;
    see_busy(f);
    uv_close((uv_handle_t *)i, NULL);
    f->done = true;
}

static void start_idle(void *arg)
{
    struct fixture *f = arg;
    uv_idle_init(&f->loop.uv, &f->idle);
    uv_idle_start(&f->idle, on_idle);
}

static void a_loop_that_is_not_going_to_sleep_does_not_look(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(loop_call(&f->loop, start_idle, f), 0);
    assert_true(wait_until(is_done, f, DEADLINE_MS));
    assert_int_equal(f->busy_seen.runs, f->busy_before.runs);
}

static void a_loop_that_was_not_asked_to_never_looks(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 5; i++)
        assert_int_equal(loop_call(&f->loop, look_at_busy, f), 0);
    assert_int_equal(f->busy_seen.runs, 0);
}

static void wish_once(void *arg)
{
    struct fixture *f = arg;
    loop_busy_poll(&f->loop, LOOK_NS);
}

static void a_wish_is_for_one_sleep(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(loop_call(&f->loop, wish_once, f), 0);
    for (int i = 0; i < 5; i++)
        assert_int_equal(loop_call(&f->loop, look_at_busy, f), 0);
    assert_int_equal(f->busy_seen.runs, uv_available_parallelism() > 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define POLLING(name) {#name ", busy polling", name, setup_polling, teardown, NULL}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_call_runs_on_the_loop_and_is_waited_for),
        TEST(mail_is_delivered_in_order),
        TEST(hooks_run_every_turn_lower_rank_first),
        TEST(a_cut_runs_the_hooks_within_the_turn),
        TEST(hooks_see_a_timer_s_work_before_the_loop_sleeps),
        TEST(a_loop_that_was_not_asked_to_never_looks),
        TEST(a_wish_is_for_one_sleep),
        POLLING(mail_is_delivered_in_order),
        POLLING(hooks_run_every_turn_lower_rank_first),
        POLLING(hooks_see_a_timer_s_work_before_the_loop_sleeps),
        POLLING(looks_in_vain_become_rare_until_one_finds_something),
        POLLING(a_loop_that_is_not_going_to_sleep_does_not_look),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
