/* bench/results.c, and the gates of bench/gates.c that judge what it read */
#include "tests/support/test.h"

#include <stdio.h>

#include "bench/gates.h"
#include "bench/results.h"

static struct results read_lines(const char *text)
{
    struct results r = {0};
    struct err e = {.text = ""};
    if (results_parse(&r, text, &e) != 0)
        fail_msg("%s", e.text);
    return r;
}

static void rounds_are_joined_and_sorted(void **state)
{
    (void)state;
    struct results r =
        read_lines("a\tours\t1\trate\t30\na\tours\t2\trate\t10\na\tours\t3\trate\t20.5\n"
                   "a\tapache\t1\trate\t7\n");
    const struct result *x = results_find(&r, "a", "ours", "rate");
    assert_non_null(x);
    assert_int_equal(x->n, 3);
    assert_float_equal(result_min(x), 10, 0);
    assert_float_equal(result_median(x), 20.5, 0);
    assert_float_equal(result_max(x), 30, 0);
    assert_null(results_find(&r, "a", "ours", "p99_us"));
    assert_null(results_find(&r, "b", "ours", "rate"));
    results_free(&r);
}

static void the_median_of_an_even_number_lies_between_the_middle_two(void **state)
{
    (void)state;
    struct results r = read_lines("a\tp\t1\tm\t1\na\tp\t2\tm\t9\na\tp\t3\tm\t2\na\tp\t4\tm\t4\n");
    assert_float_equal(result_median(results_find(&r, "a", "p", "m")), 3, 0);
    results_free(&r);
}

static void lines_that_are_no_measurement_are_refused_with_their_number(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "a\tb\t1\tm\n",
        "a\tb\t1\tm\t\n",
        "a\tb\t1\tm\tx\n",
        "a\tb\t1\tm\t1x\n",
        "\tb\t1\tm\t1\n",
        "a\tb\t1\tm\tnan\n",
        "a\tb\t1\tm\tinf\n",
        "a\tb\t1\tm\t1\t2\n",
        "a very long name of a row that does not fit into its field\tb\t1\tm\t1\n",
        "words\n"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char text[256];
        struct results r = {0};
        struct err e;
        snprintf(text, sizeof text, "ok\tb\t1\tm\t1\n%s", bad[i]);
        if (results_parse(&r, text, &e) != E_PROTO)
            fail_msg("taken: %s", bad[i]);
        assert_non_null(strstr(e.text, "line 2"));
        results_free(&r);
    }
}

static void more_rounds_than_fit_are_refused(void **state)
{
    (void)state;
    struct results r = {0};
    struct err e;
    for (int i = 0; i < RESULT_ROUNDS_MAX; i++)
        assert_int_equal(results_parse(&r, "a\tb\t1\tm\t1\n", &e), 0);
    assert_int_equal(results_parse(&r, "a\tb\t1\tm\t1\n", &e), E_TOOBIG);
    results_free(&r);
}

static void a_gate_is_judged_at_its_bound(void **state)
{
    (void)state;
    const struct gate least = {"x", "rate", "apache", true, 2.0, ""};
    const struct gate most = {"x", "rate", "apache", false, 2.0, ""};
    double v;
    struct results at = read_lines("x\tours\t1\trate\t200\nx\tapache\t1\trate\t100\n");
    assert_int_equal(gate_judge(&least, &at, &v), GATE_MET);
    assert_int_equal(gate_judge(&most, &at, &v), GATE_MET);
    assert_float_equal(v, 2.0, 0);
    struct results below = read_lines("x\tours\t1\trate\t199\nx\tapache\t1\trate\t100\n");
    assert_int_equal(gate_judge(&least, &below, &v), GATE_NOT_MET);
    assert_int_equal(gate_judge(&most, &below, &v), GATE_MET);
    struct results above = read_lines("x\tours\t1\trate\t201\nx\tapache\t1\trate\t100\n");
    assert_int_equal(gate_judge(&most, &above, &v), GATE_NOT_MET);
    results_free(&at);
    results_free(&below);
    results_free(&above);
}

static void a_gate_without_both_figures_is_unknown(void **state)
{
    (void)state;
    const struct gate g = {"x", "rate", "apache", true, 2.0, ""};
    double v;
    struct results ours = read_lines("x\tours\t1\trate\t200\n"),
                   theirs = read_lines("x\tapache\t1\trate\t200\n"),
                   zero = read_lines("x\tours\t1\trate\t200\nx\tapache\t1\trate\t0\n");
    assert_int_equal(gate_judge(&g, &ours, &v), GATE_UNKNOWN);
    assert_int_equal(gate_judge(&g, &theirs, &v), GATE_UNKNOWN);
    assert_int_equal(gate_judge(&g, &zero, &v), GATE_UNKNOWN);
    results_free(&ours);
    results_free(&theirs);
    results_free(&zero);
}

static void every_gate_belongs_to_a_row_of_the_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < gates_n; i++) {
        bool found = false;
        for (size_t k = 0; k < table_rows_n; k++)
            found |= strcmp(gates[i].id, table_rows[k].id) == 0 &&
                     strcmp(gates[i].metric, table_rows[k].metric) == 0;
        if (!found)
            fail_msg("gate %s of %s %s has no row", gates[i].text, gates[i].id, gates[i].metric);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rounds_are_joined_and_sorted),
        cmocka_unit_test(the_median_of_an_even_number_lies_between_the_middle_two),
        cmocka_unit_test(lines_that_are_no_measurement_are_refused_with_their_number),
        cmocka_unit_test(more_rounds_than_fit_are_refused),
        cmocka_unit_test(a_gate_is_judged_at_its_bound),
        cmocka_unit_test(a_gate_without_both_figures_is_unknown),
        cmocka_unit_test(every_gate_belongs_to_a_row_of_the_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
