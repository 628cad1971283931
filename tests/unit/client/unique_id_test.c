/* client/unique_id.c: the layout, and that no id comes twice. */
#include "tests/support/test.h"

#include <stdlib.h>
#include <unistd.h>

#include "client/unique_id.h"

static void an_id_holds_address_process_and_time_in_hex(void **state)
{
    (void)state;
    struct clock_fake clock;
    struct id_gen g;
    char id[UNIQUE_ID_MAX], again[UNIQUE_ID_MAX], pid[8];
    clock_fake_init(&clock, 1795253962468, 0);
    assert_int_equal(id_gen_init(&g, "192.0.2.7", 0x01020304, &clock.base), 0);
    id_gen_next(&g, id);
    assert_int_equal(strlen(id), 32);
    assert_memory_equal(id, "C0000207", 8);
    snprintf(pid, sizeof pid, "%04X", (unsigned)getpid() & 0xFFFF);
    assert_memory_equal(id + 8, pid, 4);
    assert_memory_equal(id + 12, "01020304", 8);
    id_gen_next(&g, again);
    assert_true(strcmp(id, again) < 0);
    assert_memory_equal(id, again, 28); /* the same millisecond, another counter */
    id_gen_fini(&g);
}

static void an_ipv6_address_gives_56_digits(void **state)
{
    (void)state;
    struct id_gen g;
    char id[UNIQUE_ID_MAX];
    assert_int_equal(id_gen_init(&g, "2001:db8::1", 1, &clock_system), 0);
    id_gen_next(&g, id);
    assert_int_equal(strlen(id), 56);
    assert_memory_equal(id, "20010DB8000000000000000000000001", 32);
    id_gen_fini(&g);
}

static void ids_go_on_rising_when_the_wall_clock_goes_back(void **state)
{
    (void)state;
    struct clock_fake clock;
    struct id_gen g;
    char a[UNIQUE_ID_MAX], b[UNIQUE_ID_MAX];
    clock_fake_init(&clock, 1795253962468, 0);
    assert_int_equal(id_gen_init(&g, "127.0.0.1", 1, &clock.base), 0);
    id_gen_next(&g, a);
    clock.wall -= 5000;
    for (int i = 0; i < 70000; i++) { /* more than the counter holds in one millisecond */
        id_gen_next(&g, b);
        assert_true(strcmp(a, b) < 0);
        memcpy(a, b, sizeof a);
    }
    id_gen_fini(&g);
}

enum { THREADS = 4, EACH = 5000 };

struct maker {
    struct id_gen *g;
    char (*ids)[UNIQUE_ID_MAX];
};

static void make(void *arg)
{
    const struct maker *m = arg;
    for (int i = 0; i < EACH; i++)
        id_gen_next(m->g, m->ids[i]);
}

static int by_text(const void *a, const void *b) { return strcmp(a, b); }

static void threads_never_get_the_same_id(void **state)
{
    (void)state;
    struct id_gen g;
    uv_thread_t threads[THREADS];
    struct maker makers[THREADS];
    char(*ids)[UNIQUE_ID_MAX] = calloc(THREADS * EACH, UNIQUE_ID_MAX);
    assert_non_null(ids);
    assert_int_equal(id_gen_init(&g, "127.0.0.1", 1, &clock_system), 0);
    for (int i = 0; i < THREADS; i++) {
        makers[i] = (struct maker){&g, ids + (ptrdiff_t)i * EACH};
        assert_int_equal(uv_thread_create(&threads[i], make, &makers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++)
        uv_thread_join(&threads[i]);
    qsort(ids, THREADS * EACH, UNIQUE_ID_MAX, by_text);
    for (int i = 1; i < THREADS * EACH; i++)
        assert_string_not_equal(ids[i - 1], ids[i]);
    free(ids);
    id_gen_fini(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_id_holds_address_process_and_time_in_hex),
        cmocka_unit_test(an_ipv6_address_gives_56_digits),
        cmocka_unit_test(ids_go_on_rising_when_the_wall_clock_goes_back),
        cmocka_unit_test(threads_never_get_the_same_id),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
