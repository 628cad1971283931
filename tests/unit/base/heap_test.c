/* The deadline heap: order, removal of any element, new keys. */
#include "base/heap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/rng.h"

static void an_empty_heap_has_no_least_element(void **state)
{
    (void)state;
    struct heap h = {0};
    assert_null(heap_min(&h));
    struct heap_node never_in = {0};
    heap_remove(&h, &never_in);
    heap_free(&h);
}

static void pops_come_in_order_under_random_moves_and_removals(void **state)
{
    (void)state;
    enum { N = 2000 };
    const uint64_t seed = rng_seed_from_os();
    struct rng r;
    rng_seed(&r, seed);
    struct heap h = {0};
    struct heap_node *const nodes = calloc(N, sizeof *nodes);
    assert_non_null(nodes);
    size_t left = 0;
    for (int i = 0; i < N; i++, left++)
        assert_int_equal(heap_push(&h, &nodes[i], (int64_t)rng_below(&r, 500)), 0);
    for (int i = 0; i < N; i += 3)
        heap_move(&h, &nodes[i], (int64_t)rng_below(&r, 500));
    for (int i = 0; i < N; i += 5, left--)
        heap_remove(&h, &nodes[i]);
    int64_t last = -1;
    for (struct heap_node *n; (n = heap_min(&h)) != NULL; left--) {
        if (n->key < last)
            fail_msg("seed %llu: %lld after %lld", (unsigned long long)seed, (long long)n->key, (long long)last);
        last = n->key;
        heap_remove(&h, n);
    }
    assert_int_equal(left, 0);
    heap_free(&h);
    free(nodes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_heap_has_no_least_element),
        cmocka_unit_test(pops_come_in_order_under_random_moves_and_removals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
