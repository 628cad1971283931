/* client/process_queue.c: what may be committed, whatever the order of completion. */
#include "tests/support/test.h"

#include "base/rng.h"
#include "client/process_queue.h"

enum { N = 64 };

static struct pq_entry entries[N];

static void fill(struct process_queue *q, int64_t first, int n)
{
    pq_init(q);
    pq_start(q, first);
    for (int i = 0; i < n; i++) {
        entries[i] = (struct pq_entry){.offset = first + i, .bytes = 10};
        assert_true(pq_add(q, &entries[i]));
    }
}

static void nothing_may_be_committed_before_the_start_is_known(void **state)
{
    (void)state;
    struct process_queue q;
    pq_init(&q);
    assert_int_equal(pq_commit_offset(&q), -1);
    pq_start(&q, 7);
    assert_int_equal(pq_commit_offset(&q), 7);
}

static void the_lowest_unfinished_offset_is_committed(void **state)
{
    (void)state;
    struct process_queue q;
    fill(&q, 100, 3);
    pq_remove(&q, &entries[1]);
    pq_remove(&q, &entries[2]);
    assert_int_equal(pq_commit_offset(&q), 100);
    assert_int_equal(q.count, 1);
    assert_int_equal(q.bytes, 10);
    pq_remove(&q, &entries[0]);
    assert_int_equal(pq_commit_offset(&q), 103);
    assert_int_equal(q.count, 0);
    assert_int_equal(q.bytes, 0);
}

static void the_commit_never_passes_an_unfinished_message_in_any_order(void **state)
{
    (void)state;
    struct rng rng;
    rng_seed(&rng, 4711);
    for (int round = 0; round < 200; round++) {
        struct process_queue q;
        bool done[N] = {false};
        int64_t last = 0;
        fill(&q, 0, N);
        for (int left = N; left > 0; left--) {
            size_t i = (size_t)rng_below(&rng, N);
            while (done[i])
                i = (i + 1) % N;
            done[i] = true;
            pq_remove(&q, &entries[i]);
            int64_t lowest = 0;
            while (lowest < N && done[lowest])
                lowest++;
            assert_int_equal(pq_commit_offset(&q), lowest);
            assert_true(pq_commit_offset(&q) >= last);
            last = pq_commit_offset(&q);
        }
        assert_int_equal(last, N);
    }
}

static void filtered_messages_count_as_finished_when_nothing_else_waits(void **state)
{
    (void)state;
    struct process_queue q;
    fill(&q, 0, 1);
    pq_advance(&q, 32);
    assert_int_equal(pq_commit_offset(&q), 0);
    pq_remove(&q, &entries[0]);
    assert_int_equal(pq_commit_offset(&q), 32);
    pq_advance(&q, 5);
    assert_int_equal(q.next_offset, 32);
}

static void an_offset_that_was_pulled_before_is_refused(void **state)
{
    (void)state;
    struct process_queue q;
    fill(&q, 10, 2);
    struct pq_entry again = {.offset = 11};
    assert_false(pq_add(&q, &again));
    assert_int_equal(q.count, 2);
    assert_int_equal(pq_span(&q), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_may_be_committed_before_the_start_is_known),
        cmocka_unit_test(the_lowest_unfinished_offset_is_committed),
        cmocka_unit_test(the_commit_never_passes_an_unfinished_message_in_any_order),
        cmocka_unit_test(filtered_messages_count_as_finished_when_nothing_else_waits),
        cmocka_unit_test(an_offset_that_was_pulled_before_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
