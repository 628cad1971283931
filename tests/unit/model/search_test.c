/* The search itself, on worlds small enough to be counted by hand. */
#include "model/search.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

struct pair {
    uint8_t a, b;
};
enum { SPIN }; /* a rule */

static void start(void *state)
{
    *(struct pair *)state = (struct pair){0};
}

static const char *nothing(const void *state)
{
    (void)state;
    return NULL;
}

static const char *rests_anywhere(const void *state, const struct search *x)
{
    (void)x;
    return nothing(state);
}

/* Two counters up to 2, in any order; without SPIN the second one may be stuck in a circle above 2. */
static void count(const void *state, struct search *x)
{
    const struct pair *s = state;
    struct pair n = *s;
    if (s->a < 2) {
        n.a++;
        search_move(x, &n, "a becomes %d", n.a);
    }
    n = *s;
    if (s->b < 2) {
        n.b++;
        search_move(x, &n, "b becomes %d", n.b);
    }
    if (!search_has(x, SPIN) && s->b >= 2) {
        n.b = s->b == 3 ? 4 : 3;
        search_move(x, &n, "b goes round to %d", n.b);
    }
    search_move(x, s, "nothing happens");
}

static const char *never_two_and_one(const void *state)
{
    const struct pair *s = state;
    return s->a == 2 && s->b == 1 ? "two and one" : NULL;
}

static const char *must_end_uneven(const void *state, const struct search *x)
{
    const struct pair *s = state;
    (void)x;
    return s->a == s->b ? "even" : NULL;
}

static struct search_model counters(void)
{
    return (struct search_model){.name = "counters",
                                 .size = sizeof(struct pair),
                                 .start = start,
                                 .moves = count,
                                 .always = nothing,
                                 .at_rest = rests_anywhere};
}

static struct search_result run(const struct search_model *m, struct search_options o)
{
    struct search_result r;
    struct app_error e;
    assert_int_equal(search_run(m, &o, &r, &e), 0);
    return r;
}

static void every_state_and_step_is_met_once(void **state)
{
    (void)state;
    const struct search_model m = counters();
    struct search_result r = run(&m, (struct search_options){0});
    assert_null(r.violation);
    assert_int_equal(r.states, 9);
    assert_int_equal(r.steps, 12);
    assert_int_equal(r.ends, 1);
    search_result_free(&r);
}

static void a_violation_comes_with_a_shortest_trace(void **state)
{
    (void)state;
    struct search_model m = counters();
    m.always = never_two_and_one;
    struct search_result r = run(&m, (struct search_options){0});
    assert_string_equal(r.violation, "two and one");
    assert_int_equal(r.moves, 3);
    int of_a = 0;
    for (uint32_t i = 0; i < r.moves; i++)
        of_a += r.trace[i][0] == 'a';
    assert_int_equal(of_a, 2);
    search_result_free(&r);
}

static void what_must_hold_at_rest_is_asked_at_rest_only(void **state)
{
    (void)state;
    struct search_model m = counters();
    m.at_rest = must_end_uneven;
    struct search_result r = run(&m, (struct search_options){0});
    assert_string_equal(r.violation, "even");
    assert_int_equal(r.moves, 4);
    assert_true(strcmp(r.trace[3], "a becomes 2") == 0 || strcmp(r.trace[3], "b becomes 2") == 0);
    search_result_free(&r);
}

static void a_circle_without_a_way_out_is_found(void **state)
{
    (void)state;
    const struct search_model m = counters();
    struct search_result r = run(&m, (struct search_options){.without = 1u << SPIN});
    assert_string_equal(r.violation, SEARCH_NO_PROGRESS);
    search_result_free(&r);
}

/* Ends at once, in the rules from 0 to 2 that are in force. */
static void which_rules(const void *state, struct search *x)
{
    const struct pair *s = state;
    struct pair n = {.a = 8};
    for (unsigned rule = 0; rule < 3; rule++)
        n.a |= (uint8_t)(search_has(x, rule) << rule);
    if (s->a == 0)
        search_move(x, &n, "the rules are %d", n.a);
}

static const char *never_0_and_2_alone(const void *state)
{
    return ((const struct pair *)state)->a == 8 + 5 ? "0 and 2" : NULL;
}

static void a_rule_that_is_off_leaves_its_neighbours_in_force(void **state)
{
    (void)state;
    struct search_model m = counters();
    m.moves = which_rules;
    m.always = never_0_and_2_alone;
    struct search_result r = run(&m, (struct search_options){.without = 1u << 1});
    assert_non_null(r.violation);
    assert_string_equal(r.trace[0], "the rules are 13");
    search_result_free(&r);
}

/* 0 waits for somebody's decision, 1 for a failure to be over. */
static void decide(const void *state, struct search *x)
{
    const struct pair *s = state;
    struct pair n = *s;
    if (s->a < search_faults(x)) {
        n.a++;
        search_may(x, &n, "fails");
    }
}

static void what_may_happen_is_followed_but_not_waited_for(void **state)
{
    (void)state;
    struct search_model m = counters();
    m.moves = decide;
    struct search_result r = run(&m, (struct search_options){.faults = 2});
    assert_null(r.violation);
    assert_int_equal(r.states, 3);
    assert_int_equal(r.ends, 3); /* nothing has to happen in any of them */
    search_result_free(&r);
    r = run(&m, (struct search_options){.faults = 0});
    assert_int_equal(r.states, 1);
    search_result_free(&r);
}

static void forget_b(void *state, const struct search *x)
{
    (void)x;
    ((struct pair *)state)->b = 0;
}

static void states_are_tidied_before_they_are_compared(void **state)
{
    (void)state;
    struct search_model m = counters();
    m.tidy = forget_b;
    struct search_result r = run(&m, (struct search_options){0});
    assert_int_equal(r.states, 3); /* a alone; a move of b changes nothing any more */
    assert_int_equal(r.steps, 2);
    search_result_free(&r);
}

static void too_many_states_are_an_error_and_no_answer(void **state)
{
    (void)state;
    const struct search_model m = counters();
    const struct search_options o = {.states_max = 8};
    struct search_result r;
    struct app_error e;
    assert_int_equal(search_run(&m, &o, &r, &e), APP_E_NOMEM);
    assert_non_null(strstr(e.text, "8 states"));
    assert_null(r.trace);
    const struct search_options enough = {.states_max = 9};
    r = run(&m, enough);
    assert_int_equal(r.states, 9);
    search_result_free(&r);
}

static void many(const void *state, struct search *x)
{
    const struct pair *s = state;
    struct pair n = *s;
    n.a++;
    search_move(x, &n, "a");
    n = *s;
    n.b++;
    search_move(x, &n, "b");
    n = (struct pair){0};
    search_move(x, &n, "back");
}

static void the_list_grows_with_the_world(void **state)
{
    (void)state;
    struct search_model m = counters();
    m.moves = many;
    struct search_result r = run(&m, (struct search_options){0});
    assert_int_equal(r.states, 65536);
    assert_string_equal(r.violation, SEARCH_NO_PROGRESS); /* it never rests */
    assert_int_equal(r.moves, 0);
    search_result_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_state_and_step_is_met_once),
        cmocka_unit_test(a_violation_comes_with_a_shortest_trace),
        cmocka_unit_test(what_must_hold_at_rest_is_asked_at_rest_only),
        cmocka_unit_test(a_circle_without_a_way_out_is_found),
        cmocka_unit_test(a_rule_that_is_off_leaves_its_neighbours_in_force),
        cmocka_unit_test(what_may_happen_is_followed_but_not_waited_for),
        cmocka_unit_test(states_are_tidied_before_they_are_compared),
        cmocka_unit_test(too_many_states_are_an_error_and_no_answer),
        cmocka_unit_test(the_list_grows_with_the_world),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
