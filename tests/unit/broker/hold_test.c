/* Unit tests of broker/hold.c on a real loop: parking and sweeping on it, arrivals from outside. */
#include "broker/hold.h"

#include "tests/support/test.h"
#include "tests/support/wait.h"

struct fixture {
    struct loop loop;
    struct clock_fake clock;
    struct hold *h;
};
struct waiter {
    struct parked p;
    struct fixture *f;
    _Atomic int woken;
    int rc;
};

static void on_wake(struct parked *p)
{
    LIST_ENTRY(p, struct waiter, p)->woken++;
}

static int setup_with(struct fixture *f, size_t max)
{
    struct err e;
    clock_fake_init(&f->clock, 0, 1000);
    assert_ok(loop_start(&f->loop, "test", 0, &e), &e);
    struct loop *loops[] = {&f->loop};
    f->h = hold_new(loops, 1, &f->clock.base, max, &e);
    assert_non_null(f->h);
    return 0;
}

static void close_on_loop(void *arg)
{
    hold_close_loop(arg, 0);
}

static void nothing(void *arg)
{
    (void)arg;
}

static void teardown(struct fixture *f)
{
    assert_int_equal(loop_call(&f->loop, close_on_loop, f->h), 0);
    loop_stop(&f->loop);
    hold_free(f->h);
}

static void park_on_loop(void *arg)
{
    struct waiter *w = arg;
    w->rc = hold_park(w->f->h, &w->p, 0);
}

static int park(struct fixture *f, struct waiter *w, const char *topic, int32_t queue,
                int64_t offset, int64_t wait_ms, struct group_sub *sub)
{
    *w = (struct waiter){.f = f};
    w->p = (struct parked){.topic = slice_str(topic),
                           .queue_id = queue,
                           .offset = offset,
                           .sub = sub,
                           .deadline_ms = clock_mono(&f->clock.base) + wait_ms,
                           .wake = on_wake};
    assert_int_equal(loop_call(&f->loop, park_on_loop, w), 0);
    return w->rc;
}

static void arrive(struct fixture *f, const char *topic, int32_t queue, int64_t offset,
                   int64_t code)
{
    const struct store_arrival a = {slice_str(topic), queue, offset, code, 0};
    hold_arrive(f->h, &a, 1);
    assert_int_equal(loop_call(&f->loop, nothing, NULL), 0); /* the loop has seen the mail */
}

static void sweep_on_loop(void *arg)
{
    hold_sweep(arg, 0);
}

static void an_arrival_wakes_who_waits_for_that_queue_only(void **state)
{
    (void)state;
    struct fixture f;
    struct waiter a, b, c;
    setup_with(&f, 10);
    assert_int_equal(park(&f, &a, "t", 0, 5, 1000, NULL), 0);
    assert_int_equal(park(&f, &b, "t", 1, 5, 1000, NULL), 0);
    assert_int_equal(park(&f, &c, "u", 0, 5, 1000, NULL), 0);
    arrive(&f, "t", 0, 5, 0);
    assert_int_equal(a.woken, 1);
    assert_int_equal(b.woken, 0);
    assert_int_equal(c.woken, 0);
    assert_int_equal(hold_count(f.h), 2);
    teardown(&f);
    assert_int_equal(b.woken + c.woken, 2);
}

static void an_arrival_below_the_asked_offset_wakes_nobody(void **state)
{
    (void)state;
    struct fixture f;
    struct waiter a;
    setup_with(&f, 10);
    assert_int_equal(park(&f, &a, "t", 0, 5, 1000, NULL), 0);
    arrive(&f, "t", 0, 4, 0);
    assert_int_equal(a.woken, 0);
    arrive(&f, "t", 0, 5, 0);
    assert_int_equal(a.woken, 1);
    teardown(&f);
}

static void the_tag_decides_and_too_many_tags_wake_everybody(void **state)
{
    (void)state;
    struct fixture f;
    struct waiter a;
    struct err e;
    setup_with(&f, 10);
    struct group_sub *sub = group_sub_new(SLICE_LIT("t"), SLICE_LIT("TagA"), SLICE_LIT("TAG"), 1,
                                          &e);
    assert_non_null(sub);
    assert_int_equal(park(&f, &a, "t", 0, 0, 1000, sub), 0);
    arrive(&f, "t", 0, 0, java_string_hash(SLICE_LIT("TagB")));
    assert_int_equal(a.woken, 0);
    arrive(&f, "t", 0, 1, java_string_hash(SLICE_LIT("TagA")));
    assert_int_equal(a.woken, 1);
    assert_int_equal(park(&f, &a, "t", 0, 0, 1000, sub), 0);
    struct store_arrival many[20];
    for (int i = 0; i < 20; i++)
        many[i] = (struct store_arrival){SLICE_LIT("t"), 0, i, 1000 + i, 0};
    hold_arrive(f.h, many, 20);
    assert_int_equal(loop_call(&f.loop, nothing, NULL), 0);
    assert_int_equal(a.woken, 1);
    group_sub_unref(sub);
    teardown(&f);
}

/* Time passes and the sweep runs: how often `a` and `b` were woken by now. */
static void expect_woken_after(struct fixture *f, int64_t ms, const struct waiter *a, int of_a,
                               const struct waiter *b, int of_b)
{
    clock_fake_advance(&f->clock, ms);
    assert_int_equal(loop_call(&f->loop, sweep_on_loop, f->h), 0);
    assert_int_equal(a->woken, of_a);
    assert_int_equal(b->woken, of_b);
}

static void the_sweep_wakes_exactly_what_is_overdue(void **state)
{
    (void)state;
    struct fixture f;
    struct waiter a, b;
    setup_with(&f, 10);
    assert_int_equal(park(&f, &a, "t", 0, 0, 100, NULL), 0);
    assert_int_equal(park(&f, &b, "t", 0, 0, 200, NULL), 0);
    expect_woken_after(&f, 99, &a, 0, &b, 0);
    expect_woken_after(&f, 1, &a, 1, &b, 0);
    teardown(&f);
}

/* Else the group of a rare tag would seem to lag for as long as its consumer likes to wait. */
static void what_messages_of_other_tags_passed_by_is_answered_five_seconds_later(void **state)
{
    (void)state;
    struct fixture f;
    struct waiter a, b;
    struct err e;
    setup_with(&f, 10);
    struct group_sub *sub = group_sub_new(SLICE_LIT("t"), SLICE_LIT("TagA"), SLICE_LIT("TAG"), 1,
                                          &e);
    assert_non_null(sub);
    assert_int_equal(park(&f, &a, "t", 0, 0, 15000, sub), 0);
    assert_int_equal(park(&f, &b, "t", 0, 1, 15000, sub), 0); /* not there yet */
    arrive(&f, "t", 0, 0, java_string_hash(SLICE_LIT("TagB")));
    clock_fake_advance(&f.clock, 4999);
    arrive(&f, "t", 0, 0, java_string_hash(SLICE_LIT("TagB")));
    expect_woken_after(&f, 0, &a, 0, &b, 0);
    expect_woken_after(&f, 1, &a, 1, &b, 0);
    teardown(&f);
    group_sub_unref(sub);
}

static void more_than_the_limit_are_turned_away(void **state)
{
    (void)state;
    struct fixture f;
    struct waiter a, b;
    setup_with(&f, 1);
    assert_int_equal(park(&f, &a, "t", 0, 0, 100, NULL), 0);
    assert_int_equal(park(&f, &b, "t", 0, 0, 100, NULL), E_BUSY);
    arrive(&f, "t", 0, 0, 0);
    assert_int_equal(park(&f, &b, "t", 0, 0, 100, NULL), 0);
    teardown(&f);
}

static void after_closing_nobody_parks(void **state)
{
    (void)state;
    struct fixture f;
    struct waiter a, b;
    setup_with(&f, 10);
    assert_int_equal(park(&f, &a, "t", 0, 0, 100000, NULL), 0);
    assert_int_equal(loop_call(&f.loop, close_on_loop, f.h), 0);
    assert_int_equal(a.woken, 1);
    assert_int_equal(park(&f, &b, "t", 0, 0, 100, NULL), E_BUSY);
    teardown(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_arrival_wakes_who_waits_for_that_queue_only),
        cmocka_unit_test(an_arrival_below_the_asked_offset_wakes_nobody),
        cmocka_unit_test(the_tag_decides_and_too_many_tags_wake_everybody),
        cmocka_unit_test(the_sweep_wakes_exactly_what_is_overdue),
        cmocka_unit_test(what_messages_of_other_tags_passed_by_is_answered_five_seconds_later),
        cmocka_unit_test(more_than_the_limit_are_turned_away),
        cmocka_unit_test(after_closing_nobody_parks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
