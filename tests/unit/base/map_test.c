/* base/map.c: against a plain array as the model, under churn, and while iterating. */
#include "tests/support/test.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/map.h"
#include "tests/support/seed.h"

static char values[4096];

static void what_was_put_is_found_and_nothing_else(void **state)
{
    (void)state;
    struct map *m = map_new();
    void *old = values;
    assert_null(map_get(m, SLICE_LIT("a")));
    assert_ok(map_put(m, SLICE_LIT("a"), &values[1], &old), NULL);
    assert_null(old);
    assert_ok(map_put(m, SLICE_LIT("a"), &values[2], &old), NULL);
    assert_ptr_equal(old, &values[1]);
    assert_int_equal(map_count(m), 1);
    assert_ptr_equal(map_get(m, SLICE_LIT("a")), &values[2]);
    assert_null(map_get(m, SLICE_LIT("ab")));
    assert_null(map_remove(m, SLICE_LIT("b")));
    assert_ptr_equal(map_remove(m, SLICE_LIT("a")), &values[2]);
    assert_int_equal(map_count(m), 0);
    map_free(m, NULL);
}

static void keys_are_bytes_of_any_length(void **state)
{
    (void)state;
    struct map *m = map_new();
    char key[64];
    memset(key, 'k', sizeof key);
    key[3] = '\0';
    for (size_t n = 0; n <= sizeof key; n++)
        assert_ok(map_put(m, slice_of(key, n), &values[n], NULL), NULL);
    memset(key, 'x', 3); /* the map must have copied them */
    assert_null(map_get(m, slice_of(key, 17)));
    memset(key, 'k', 3);
    for (size_t n = 0; n <= sizeof key; n++)
        assert_ptr_equal(map_get(m, slice_of(key, n)), &values[n]);
    assert_ptr_equal(map_get(m, SLICE_NULL), &values[0]);
    map_free(m, NULL);
}

static void random_churn_agrees_with_the_model(void **state)
{
    (void)state;
    enum { KEYS = 2000, STEPS = 200000 };
    static bool present[KEYS];
    struct rng rng = test_rng("map");
    struct map *m = map_new();
    size_t count = 0;
    for (int i = 0; i < STEPS; i++) {
        int64_t k = (int64_t)rng_below(&rng, KEYS);
        char text[40];
        snprintf(text, sizeof text, k % 2 ? "%lld" : "a-longer-key-%lld-than-sixteen",
                 (long long)k);
        struct slice key = k % 3 ? slice_str(text) : map_key_i64(&k);
        void *want = present[k] ? &values[k] : NULL;
        assert_ptr_equal(map_get(m, key), want);
        if (rng_below(&rng, 100) < 50 + (uint64_t)(i < STEPS / 2 ? 10 : 0)) {
            assert_ok(map_put(m, key, &values[k], NULL), NULL);
            count += !present[k];
            present[k] = true;
        } else {
            assert_ptr_equal(map_remove(m, key), want);
            count -= present[k];
            present[k] = false;
        }
        assert_int_equal(map_count(m), count);
    }
    map_free(m, NULL);
}

static void iteration_sees_each_entry_once_while_removing(void **state)
{
    (void)state;
    enum { KEYS = 1000 };
    struct map *m = map_new();
    bool seen[KEYS] = {false};
    for (int64_t k = 0; k < KEYS; k++)
        assert_ok(map_put(m, map_key_i64(&k), &values[k], NULL), NULL);
    for (struct map_iter it = {0}; map_next(m, &it);) {
        size_t k = (size_t)((char *)it.value - values);
        assert_false(seen[k]);
        seen[k] = true;
        if (k % 3)
            assert_ptr_equal(map_remove(m, it.key), it.value);
    }
    for (int64_t k = 0; k < KEYS; k++) {
        assert_true(seen[k]);
        assert_ptr_equal(map_get(m, map_key_i64(&k)), k % 3 ? NULL : &values[k]);
    }
    for (struct map_iter it = {0}; map_next(m, &it);)
        map_remove(m, it.key);
    assert_int_equal(map_count(m), 0);
    map_free(m, NULL);
}

static void an_empty_map_iterates_not_at_all(void **state)
{
    (void)state;
    struct map *m = map_new();
    struct map_iter it = {0};
    assert_false(map_next(m, &it));
    map_free(m, NULL);
    map_free(NULL, NULL);
}

static int freed;

static void count_free(void *value)
{
    freed += value != NULL;
}

static void freeing_hands_every_value_back(void **state)
{
    (void)state;
    struct map *m = map_new();
    for (int64_t k = 0; k < 100; k++)
        assert_ok(map_put(m, map_key_i64(&k), &values[k], NULL), NULL);
    map_remove(m, map_key_i64(&(int64_t){7}));
    freed = 0;
    map_free(m, count_free);
    assert_int_equal(freed, 99);
}

static void the_hash_differs_for_close_keys_and_lengths(void **state)
{
    (void)state;
    assert_true(hash_bytes(SLICE_LIT("topic")) == hash_bytes(SLICE_LIT("topic")));
    assert_true(hash_bytes(SLICE_LIT("a")) != hash_bytes(SLICE_LIT("b")));
    assert_true(hash_bytes(slice_of("\0\0\0\0\0\0\0\0", 7)) !=
                hash_bytes(slice_of("\0\0\0\0\0\0\0\0", 8)));
    assert_true(hash_bytes(SLICE_NULL) == hash_bytes(slice_of("x", 0)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_put_is_found_and_nothing_else),
        cmocka_unit_test(keys_are_bytes_of_any_length),
        cmocka_unit_test(random_churn_agrees_with_the_model),
        cmocka_unit_test(iteration_sees_each_entry_once_while_removing),
        cmocka_unit_test(an_empty_map_iterates_not_at_all),
        cmocka_unit_test(freeing_hands_every_value_back),
        cmocka_unit_test(the_hash_differs_for_close_keys_and_lengths),
    };
    return cmocka_run_group_tests_name("map", tests, NULL, NULL);
}
