#include "tests/support/test.h"

#include "remoting/block.h"

static struct block_pool pool;

static int setup(void **state)
{
    (void)state;
    block_pool_init(&pool);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    block_pool_fini(&pool); /* asserts that every block came back */
    return 0;
}

static void a_standard_block_is_used_again(void **state)
{
    (void)state;
    struct block *a = block_new(&pool, BLOCK_SIZE);
    a->used = 100;
    block_unref(a);
    struct block *b = block_new(&pool, BLOCK_SIZE);
    assert_ptr_equal(a, b);
    assert_int_equal(b->used, 0);
    assert_int_equal(b->refs, 1);
    block_unref(b);
}

static void a_block_stays_until_its_last_holder_lets_go(void **state)
{
    (void)state;
    struct block *a = block_new(&pool, 10);
    block_ref(a);
    block_unref(a);
    assert_int_equal(pool.bytes, 10);
    block_unref(a);
    assert_int_equal(pool.bytes, 0);
    block_unref(NULL);
}

static void the_pool_keeps_a_bounded_number(void **state)
{
    (void)state;
    struct block *blocks[BLOCK_FREE_MAX + 10];
    for (int i = 0; i < BLOCK_FREE_MAX + 10; i++)
        blocks[i] = block_new(&pool, BLOCK_SIZE);
    for (int i = 0; i < BLOCK_FREE_MAX + 10; i++)
        block_unref(blocks[i]);
    assert_int_equal(pool.free_n, BLOCK_FREE_MAX);
    assert_int_equal(pool.bytes, (size_t)BLOCK_FREE_MAX * BLOCK_SIZE);
}

static void the_shared_block_starts_again_when_nobody_looks_at_it(void **state)
{
    (void)state;
    struct block *b = block_shared(&pool);
    b->used = 1000;
    block_ref(b);
    assert_ptr_equal(block_shared(&pool), b);
    assert_int_equal(b->used, 1000);
    block_unref(b);
    assert_ptr_equal(block_shared(&pool), b);
    assert_int_equal(b->used, 0);
}

static void a_full_shared_block_is_replaced_and_lives_on_with_its_holders(void **state)
{
    (void)state;
    struct block *b = block_shared(&pool);
    block_ref(b);
    b->used = BLOCK_SIZE - BLOCK_READ_MIN + 1;
    struct block *next = block_shared(&pool);
    assert_ptr_not_equal(next, b);
    assert_int_equal(b->refs, 1);
    block_unref(b);
}

static void a_block_taken_out_of_sharing_belongs_to_its_holder(void **state)
{
    (void)state;
    struct block *b = block_ref(block_shared(&pool));
    block_unshare(b);
    assert_int_equal(b->refs, 1);
    assert_ptr_not_equal(block_shared(&pool), b);
    block_unshare(b); /* it is not shared: nothing */
    assert_int_equal(b->refs, 1);
    block_unref(b);
}

static void growing_keeps_the_bytes(void **state)
{
    (void)state;
    struct block *b = block_new(&pool, BLOCK_SIZE);
    memset(b->data, 'g', BLOCK_SIZE);
    b->used = BLOCK_SIZE;
    assert_true(block_grow(&b, 10 * BLOCK_SIZE));
    assert_int_equal(b->cap, 10 * BLOCK_SIZE);
    assert_int_equal(b->used, BLOCK_SIZE);
    assert_int_equal(b->data[BLOCK_SIZE - 1], 'g');
    assert_true(block_grow(&b, 5)); /* never smaller */
    assert_int_equal(b->cap, 10 * BLOCK_SIZE);
    block_unref(b);
    assert_int_equal(pool.free_n, 0); /* too large to keep */
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_standard_block_is_used_again),
        TEST(a_block_stays_until_its_last_holder_lets_go),
        TEST(the_pool_keeps_a_bounded_number),
        TEST(the_shared_block_starts_again_when_nobody_looks_at_it),
        TEST(a_full_shared_block_is_replaced_and_lives_on_with_its_holders),
        TEST(a_block_taken_out_of_sharing_belongs_to_its_holder),
        TEST(growing_keeps_the_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
