/* What a participant does with the order service's word. */
#include "apps/common/verdict.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void only_final_words_move_anything(void **state)
{
    (void)state;
    assert_int_equal(verdict_action_of("paid"), VERDICT_FINAL);
    assert_int_equal(verdict_action_of("cancelled"), VERDICT_UNDO_TELL);
    assert_int_equal(verdict_action_of("invalid"), VERDICT_UNDO);
    assert_int_equal(verdict_action_of("unknown"), VERDICT_UNKNOWN);
    assert_int_equal(verdict_action_of("open"), VERDICT_WAIT);
    assert_int_equal(verdict_action_of("confirmed"), VERDICT_WAIT);
}

static void a_word_that_is_missing_or_new_means_wait(void **state)
{
    (void)state;
    assert_int_equal(verdict_action_of(NULL), VERDICT_WAIT);
    assert_int_equal(verdict_action_of(""), VERDICT_WAIT);
    assert_int_equal(verdict_action_of("returned"), VERDICT_WAIT);
    assert_int_equal(verdict_action_of("Cancelled"), VERDICT_WAIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_final_words_move_anything),
        cmocka_unit_test(a_word_that_is_missing_or_new_means_wait),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
