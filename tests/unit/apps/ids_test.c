#include "apps/common/ids.h"

#include <pthread.h>
#include <stdlib.h>

#include "tests/support/test.h"

static _Atomic int64_t fake_ms;

static int64_t fake_wall(void)
{
    return fake_ms;
}

#define START INT64_C(1790000000000)

static void ids_grow_and_carry_time_and_instance(void **state)
{
    (void)state;
    struct ids g;
    int64_t a, b;
    fake_ms = START;
    ids_init(&g, 77, fake_wall);
    assert_int_equal(ids_next(&g, &a, NULL), APP_OK);
    assert_int_equal(ids_next(&g, &b, NULL), APP_OK);
    assert_true(b > a && a > 0);
    assert_int_equal(a >> 12 & 1023, 77);
    assert_int_equal((a >> 22) + INT64_C(1704067200000), START);
    ids_fini(&g);
}

static void a_used_up_millisecond_borrows_the_next(void **state)
{
    (void)state;
    struct ids g;
    int64_t last = 0, id;
    fake_ms = START;
    ids_init(&g, 0, fake_wall);
    for (int i = 0; i < 3 * 4096; i++) {
        assert_int_equal(ids_next(&g, &id, NULL), APP_OK);
        assert_true(id > last);
        last = id;
    }
    assert_int_equal((last >> 22) + INT64_C(1704067200000), START + 2);
    ids_fini(&g);
}

static void a_clock_that_goes_back_repeats_no_id_and_refuses_when_it_is_too_far(void **state)
{
    (void)state;
    struct ids g;
    struct app_error e;
    int64_t a, b;
    fake_ms = START;
    ids_init(&g, 0, fake_wall);
    assert_int_equal(ids_next(&g, &a, NULL), APP_OK);
    fake_ms = START - 5000;
    assert_int_equal(ids_next(&g, &b, NULL), APP_OK);
    assert_true(b > a);
    fake_ms = START - 5001;
    assert_int_equal(ids_next(&g, &b, &e), APP_E_BUSY);
    assert_contains(e.text, "went back");
    fake_ms = START + 1;
    assert_int_equal(ids_next(&g, &b, NULL), APP_OK);
    fake_ms = 0;
    assert_int_equal(ids_next(&g, &b, &e), APP_E_BUSY);
    assert_contains(e.text, "outside");
    ids_fini(&g);
}

#define PER_THREAD 2000
static struct ids shared;

static void *draw(void *arg)
{
    int64_t *out = arg;
    for (int i = 0; i < PER_THREAD; i++)
        if (ids_next(&shared, &out[i], NULL))
            out[i] = 0;
    return NULL;
}

static int by_value(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void four_threads_never_draw_the_same_id(void **state)
{
    (void)state;
    static int64_t all[4 * PER_THREAD];
    pthread_t t[4];
    ids_init(&shared, 1, NULL);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&t[i], NULL, draw, all + i * PER_THREAD), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
    qsort(all, 4 * PER_THREAD, sizeof *all, by_value);
    for (int i = 1; i < 4 * PER_THREAD; i++)
        assert_true(all[i] > all[i - 1] && all[i - 1] > 0);
    ids_fini(&shared);
}

static void text_is_read_strictly(void **state)
{
    (void)state;
    int64_t v = 0;
    assert_true(id_parse("1", &v));
    assert_true(id_parse("9223372036854775807", &v));
    assert_int_equal(v, INT64_MAX);
    static const char *const bad[] = {
        "",   "0", "-1", "+1", " 1", "1 ", "1a", "9223372036854775808", "99999999999999999999",
        "0x1"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (id_parse(bad[i], &v))
            fail_msg("\"%s\" was read as %lld", bad[i], (long long)v);
}

static void a_list_of_ids_is_read_whole_or_not_at_all(void **state)
{
    (void)state;
    int64_t out[3];
    assert_int_equal(id_parse_list("7", out, 3), 1);
    assert_int_equal(id_parse_list("7,8,9223372036854775807", out, 3), 3);
    assert_int_equal(out[0], 7);
    assert_int_equal(out[2], INT64_MAX);
    static const char *const bad[] = {
        "",     ",",        "7,",  ",7", "7,,8",
        "7, 8", "7,8,9,10", "7;8", "-7", "99999999999999999999999999999"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (id_parse_list(bad[i], out, 3) != 0)
            fail_msg("\"%s\" is taken for a list", bad[i]);
    assert_int_equal(id_parse_list(NULL, out, 3), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_grow_and_carry_time_and_instance),
        cmocka_unit_test(a_used_up_millisecond_borrows_the_next),
        cmocka_unit_test(a_clock_that_goes_back_repeats_no_id_and_refuses_when_it_is_too_far),
        cmocka_unit_test(four_threads_never_draw_the_same_id),
        cmocka_unit_test(text_is_read_strictly),
        cmocka_unit_test(a_list_of_ids_is_read_whole_or_not_at_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
