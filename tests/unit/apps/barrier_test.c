/* What the barrier's inserts come to. */
#include "apps/common/barrier.h"
#include "apps/common/decision.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void a_try_runs_once_and_never_after_its_cancel(void **state)
{
    (void)state;
    assert_int_equal(barrier_try_of(true, 'T'), BARRIER_RUN);
    assert_int_equal(barrier_try_of(false, 'T'), BARRIER_DUPLICATE);
    assert_int_equal(barrier_try_of(false, 'C'), BARRIER_REFUSED);
}

static void a_cancel_undoes_once_and_only_what_was_tried(void **state)
{
    (void)state;
    assert_int_equal(barrier_cancel_of(true, true), BARRIER_EMPTY);
    assert_int_equal(barrier_cancel_of(false, true), BARRIER_UNDO);
    assert_int_equal(barrier_cancel_of(false, false), BARRIER_DONE);
}

static void only_the_local_transactions_row_commits(void **state)
{
    (void)state;
    assert_int_equal(decision_verdict_of('C'), MQ_COMMIT);
    assert_int_equal(decision_verdict_of('R'), MQ_ROLLBACK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_try_runs_once_and_never_after_its_cancel),
        cmocka_unit_test(a_cancel_undoes_once_and_only_what_was_tried),
        cmocka_unit_test(only_the_local_transactions_row_commits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
