/* base/failpoint.c: the grammar, counting, and the actions that block or kill. */
#include "tests/support/test.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "tests/support/wait.h"

#if HP_FAILPOINTS

static void arm(const char *spec)
{
    struct err e = {0};
    assert_ok(failpoint_arm(slice_str(spec), &e), &e);
}

static int teardown(void **state)
{
    (void)state;
    failpoint_disarm_all();
    return 0;
}

static void unarmed_places_do_nothing(void **state)
{
    (void)state;
    assert_int_equal(FAILPOINT(FP_STORE_FLUSH_SYNC), 0);
    assert_int_equal(failpoint_hits(FP_STORE_FLUSH_SYNC), 0);
}

static void an_error_is_the_outcome_until_disarmed(void **state)
{
    (void)state;
    arm("store.flush.sync=error(E_NOSPC); store.roll=error");
    assert_code(FAILPOINT(FP_STORE_FLUSH_SYNC), E_NOSPC, NULL);
    assert_code(FAILPOINT(FP_STORE_FLUSH_SYNC), E_NOSPC, NULL);
    assert_code(FAILPOINT(FP_STORE_ROLL), E_IO, NULL);
    assert_int_equal(FAILPOINT(FP_STORE_CHECKPOINT), 0); /* others are not touched */
    assert_int_equal(failpoint_hits(FP_STORE_FLUSH_SYNC), 2);
    failpoint_disarm_all();
    assert_int_equal(FAILPOINT(FP_STORE_FLUSH_SYNC), 0);
}

static void count_and_after_pick_the_passes(void **state)
{
    (void)state;
    arm("store.flush.sync=error(E_IO)*2,after(3)");
    static const int want[] = {0, 0, 0, E_IO, E_IO, 0, 0};
    for (size_t i = 0; i < sizeof want / sizeof *want; i++)
        assert_code(FAILPOINT(FP_STORE_FLUSH_SYNC), want[i], NULL);
    assert_int_equal(failpoint_armed[FP_STORE_FLUSH_SYNC], 0); /* used up: cheap again */
}

static void short_tells_how_much_and_other_actions_do_not(void **state)
{
    (void)state;
    int n = 5;
    arm("store.append.write=short(17);store.roll=error");
    assert_code(failpoint_hit(FP_STORE_APPEND_WRITE, &n), E_IO, NULL);
    assert_int_equal(n, 17);
    assert_code(failpoint_hit(FP_STORE_ROLL, &n), E_IO, NULL);
    assert_int_equal(n, -1);
    assert_code(FAILPOINT(FP_STORE_APPEND_WRITE), E_IO, NULL);
}

static void a_single_one_is_switched_off_by_name(void **state)
{
    (void)state;
    arm("store.roll=error;tx.op=error");
    arm("store.roll=off");
    assert_int_equal(FAILPOINT(FP_STORE_ROLL), 0);
    assert_code(FAILPOINT(FP_TX_OP), E_IO, NULL);
}

static void bad_entries_are_named_and_nothing_is_armed(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "store.rol=error",
        "store.roll",
        "store.roll=",
        "store.roll=explode",
        "store.roll=error(EIO)",
        "store.roll=error(",
        "store.roll=sleep",
        "store.roll=sleep(x)",
        "store.roll=sleep(-1)",
        "store.roll=error*0",
        "store.roll=error*x",
        "store.roll=error,before(3)",
        "store.roll=error,after(3",
        "store.roll=error,after()",
        "store.roll=pause(3)",
        "store.roll=short(99999999999)",
        "=error",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct err e = {0};
        char spec[100];
        snprintf(spec, sizeof spec, "tx.op=error; %s", bad[i]);
        int rc = failpoint_arm(slice_str(spec), &e);
        if (rc != E_INVAL)
            fail_msg("\"%s\" gave %s", spec, err_name(rc));
        assert_contains(e.text, "failpoint '");
        assert_int_equal(FAILPOINT(FP_TX_OP), 0);
    }
    arm("");
    arm(" ; ;");
}

static void sleeping_takes_time_and_then_goes_on(void **state)
{
    (void)state;
    arm("store.flush.sync=sleep(30)*1");
    int64_t before = clock_mono(&clock_system);
    assert_int_equal(FAILPOINT(FP_STORE_FLUSH_SYNC), 0);
    assert_true(clock_mono(&clock_system) - before >= 29);
}

static atomic_int passed;

static void *pass_through(void *arg)
{
    (void)arg;
    if (FAILPOINT(FP_STORE_FLUSH_DONE) == 0)
        atomic_fetch_add(&passed, 1);
    return NULL;
}

static bool two_arrived(void *arg)
{
    (void)arg;
    return failpoint_hits(FP_STORE_FLUSH_DONE) == 2;
}

static void a_pause_lasts_until_disarmed(void **state)
{
    (void)state;
    pthread_t threads[2];
    atomic_store(&passed, 0);
    arm("store.flush.done=pause");
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, pass_through, NULL), 0);
    assert_true(wait_until(two_arrived, NULL, 10000));
    assert_int_equal(atomic_load(&passed), 0);
    arm("store.roll=error"); /* another one: no reason to go on */
    assert_int_equal(atomic_load(&passed), 0);
    failpoint_disarm_all();
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&passed), 2);
}

static bool one_arrived(void *arg)
{
    (void)arg;
    return failpoint_hits(FP_STORE_FLUSH_DONE) == 1;
}

static void a_counted_pause_catches_one_and_lets_others_pass(void **state)
{
    (void)state;
    pthread_t caught;
    atomic_store(&passed, 0);
    arm("store.flush.done=pause*1");
    assert_int_equal(pthread_create(&caught, NULL, pass_through, NULL), 0);
    assert_true(wait_until(one_arrived, NULL, 10000));
    assert_int_equal(FAILPOINT(FP_STORE_FLUSH_DONE), 0);
    assert_int_equal(atomic_load(&passed), 0);
    arm("store.flush.done=off");
    pthread_join(caught, NULL);
    assert_int_equal(atomic_load(&passed), 1);
}

static int status_of_child(void (*child)(void))
{
    int status;
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        child();
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void crash_at_roll(void)
{
    if (failpoint_arm(SLICE_LIT("store.roll=crash,after(1)"), NULL) || FAILPOINT(FP_STORE_ROLL))
        _exit(1);
    if (FAILPOINT(FP_STORE_ROLL))
        _exit(2);
}

static void a_crash_ends_the_process_at_once(void **state)
{
    (void)state;
    assert_int_equal(status_of_child(crash_at_roll), 99);
}

static void the_environment_arms_and_its_faults_are_named(void **state)
{
    (void)state;
    struct err e = {0};
    unsetenv("HALFPENNY_FAILPOINTS");
    assert_ok(failpoint_init_from_env(&e), &e);
    setenv("HALFPENNY_FAILPOINTS", "tx.check=error(E_TIMEOUT)", 1);
    assert_ok(failpoint_init_from_env(&e), &e);
    assert_code(FAILPOINT(FP_TX_CHECK), E_TIMEOUT, NULL);
    setenv("HALFPENNY_FAILPOINTS", "nonsense", 1);
    assert_code(failpoint_init_from_env(&e), E_INVAL, &e);
    assert_string_equal(e.text, "HALFPENNY_FAILPOINTS: failpoint 'nonsense': no such name");
    unsetenv("HALFPENNY_FAILPOINTS");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(unarmed_places_do_nothing, teardown),
        cmocka_unit_test_teardown(an_error_is_the_outcome_until_disarmed, teardown),
        cmocka_unit_test_teardown(count_and_after_pick_the_passes, teardown),
        cmocka_unit_test_teardown(short_tells_how_much_and_other_actions_do_not, teardown),
        cmocka_unit_test_teardown(a_single_one_is_switched_off_by_name, teardown),
        cmocka_unit_test_teardown(bad_entries_are_named_and_nothing_is_armed, teardown),
        cmocka_unit_test_teardown(sleeping_takes_time_and_then_goes_on, teardown),
        cmocka_unit_test_teardown(a_pause_lasts_until_disarmed, teardown),
        cmocka_unit_test_teardown(a_counted_pause_catches_one_and_lets_others_pass, teardown),
        cmocka_unit_test_teardown(a_crash_ends_the_process_at_once, teardown),
        cmocka_unit_test_teardown(the_environment_arms_and_its_faults_are_named, teardown),
    };
    return cmocka_run_group_tests_name("failpoint", tests, NULL, NULL);
}

#else

static void arming_is_refused_where_they_are_compiled_out(void **state)
{
    (void)state;
    struct err e = {0};
    assert_code(failpoint_arm(SLICE_LIT("store.roll=error"), &e), E_UNSUPP, &e);
    assert_int_equal(FAILPOINT(FP_STORE_ROLL), 0);
    setenv("HALFPENNY_FAILPOINTS", "store.roll=error", 1);
    assert_code(failpoint_init_from_env(&e), E_UNSUPP, &e);
    unsetenv("HALFPENNY_FAILPOINTS");
    assert_ok(failpoint_init_from_env(&e), &e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arming_is_refused_where_they_are_compiled_out)};
    return cmocka_run_group_tests_name("failpoint", tests, NULL, NULL);
}

#endif
