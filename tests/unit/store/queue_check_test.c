/* Damaged units: the log decides, whatever bit of a queue file flips while the store is stopped. */
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "store/store_priv.h"
#include "tests/support/store_fixture.h"

enum { BODY = 50, RECORD = MESSAGE_SIZE_MIN + 1 + BODY, EACH = 5, ANSWER_MAX = 4096 };

static const struct { const char *topic; int32_t queue; } queues[] = {{"T", 0}, {"T", 1}, {"U", 0}};
enum { QUEUES = sizeof queues / sizeof *queues };

static const char *queue_file(int i)
{
    return fixture_path("consumequeue/%s/%d/%020d", queues[i].topic, queues[i].queue, 0);
}

static void flip(struct store_fixture *f, const char *path, size_t at, int bit)
{
    char *p;
    size_t n;
    fixture_read_file(f, path, &p, &n);
    assert_true(at < n);
    p[at] = (char)(p[at] ^ 1 << bit);
    fixture_write_file(f, path, p, n);
    free(p);
}

/* Three queues whose records alternate in the log, with a tag; stopped in order. */
static void make_store(struct store_fixture *f)
{
    fixture_init(f, FLUSH_ASYNC);
    fixture_open(f);
    for (int i = 0; i < EACH * QUEUES; i++) {
        struct sent *s = fixture_append(f, queues[i % QUEUES].topic, queues[i % QUEUES].queue, 0, BODY, "TagA");
        store_port_submit(&f->port);
        fixture_steps(f);
        sent_free(s);
    }
    fixture_close(f);
}

static bool is_code(void *arg, int64_t code)
{
    return code == *(int64_t *)arg;
}

static size_t bytes_of(const struct store_got *g, char out[ANSWER_MAX])
{
    size_t n = 0;
    assert_true(g->bytes <= ANSWER_MAX);
    for (int i = 0; i < g->iov_n; n += g->iov[i++].iov_len)
        memcpy(out + n, g->iov[i].iov_base, g->iov[i].iov_len);
    return n;
}

/* Every message of a queue, in order, through a filter. Who must not wait gets the first of them, or all. */
static void assert_served(struct store_fixture *f, int i, int n, const char *what)
{
    int64_t code = java_string_hash(SLICE_LIT("TagA"));
    struct store_got g, first;
    struct store_get q = {.topic = slice_str(queues[i].topic), .queue_id = queues[i].queue, .max_msgs = 32,
                          .match = is_code, .match_arg = &code, .no_wait = true};
    assert_int_equal(store_get(f->st, &q, &first), 0);
    q.no_wait = false;
    assert_int_equal(store_get(f->st, &q, &g), 0);
    if (g.msg_n != n || g.next_begin_offset != EACH)
        fail_msg("%s: %s-%d gives %d messages up to %lld, expected %d up to %d", what, queues[i].topic,
                 queues[i].queue, g.msg_n, (long long)g.next_begin_offset, n, EACH);
    char all[ANSWER_MAX], some[ANSWER_MAX];
    (void)bytes_of(&g, all);
    const size_t some_n = bytes_of(&first, some);
    if (memcmp(all, some, some_n) != 0 || (!first.cold && first.bytes != g.bytes))
        fail_msg("%s: %s-%d gives who must not wait %d messages of %d, up to %lld, cold %d", what, queues[i].topic,
                 queues[i].queue, first.msg_n, g.msg_n, (long long)first.next_begin_offset, first.cold);
    store_got_release(&first);
    store_got_release(&g);
}

static void flip_every_bit(bool killed)
{
    struct store_fixture f;
    make_store(&f);
    for (int i = 0; i < QUEUES; i++) {
        char *before, *after, path[128];
        size_t n;
        snprintf(path, sizeof path, "%s", queue_file(i));
        fixture_read_file(&f, path, &before, &n);
        for (int k = 0; k < EACH * CQ_UNIT_SIZE * 8; k++) {
            char what[200];
            snprintf(what, sizeof what, "bit %d of byte %d of %s", k % 8, k / 8, path);
            flip(&f, path, (size_t)k / 8, k % 8);
            if (killed)
                fixture_write_file(&f, fixture_path("abort"), "1", 1);
            fixture_open(&f);
            for (int j = 0; j < QUEUES; j++)
                assert_served(&f, j, EACH, what);
            fixture_verify(&f);
            fixture_close(&f);
            fixture_read_file(&f, path, &after, &n);
            if (memcmp(before, after, n) != 0)
                fail_msg("%s: the file is not repaired", what);
            free(after);
        }
        free(before);
    }
    fixture_fini(&f);
}

static void any_flipped_bit_of_a_unit_is_repaired_after_an_orderly_stop(void **state)
{
    (void)state;
    flip_every_bit(false);
}

static void any_flipped_bit_of_a_unit_is_repaired_after_a_kill(void **state)
{
    (void)state;
    flip_every_bit(true);
}

/* The record says that it is of another queue, and has no checksum that tells otherwise. */
static void a_record_of_another_queue_is_not_served(void **state)
{
    (void)state;
    struct store_fixture f;
    make_store(&f);
    flip(&f, fixture_path("commitlog/%020d", 0), 15, 1); /* queue id of the first record: T-0 */
    fixture_open(&f);
    for (int round = 0; round < 2; round++) {
        assert_served(&f, 0, EACH - 1, "T-0 without its first record");
        assert_served(&f, 1, EACH, "its neighbour");
    }
    fixture_fini(&f);
}

static void a_unit_that_only_looks_expired_does_not_hide_those_in_front_of_it(void **state)
{
    (void)state;
    enum { MANY = 1000, EXPIRED = 250, PROBED = 254 /* where the search looks first behind the first file */ };
    struct store_fixture f;
    struct err e = {0};
    int64_t min, max;
    fixture_init(&f, FLUSH_ASYNC);
    fixture_open(&f);
    fixture_put_many(&f, "T", 0, MANY, BODY);
    fixture_close(&f);
    char *p;
    size_t n;
    const int start = PROBED / 50 * 1000, at = PROBED % 50 * CQ_UNIT_SIZE;
    fixture_read_file(&f, fixture_path("consumequeue/T/0/%020d", start), &p, &n);
    be64_put(p + at, 3);
    fixture_write_file(&f, fixture_path("consumequeue/T/0/%020d", start), p, n);
    free(p);
    fixture_open(&f);
    struct store_queue *q = queue_find(&f.st->queues, SLICE_LIT("T"), 0);
    struct queue_unit u;
    assert_ok(queue_unit_at(q, EXPIRED, &u, &e), &e);
    assert_ok(queue_find_min(q, u.phys_offset, &e), &e);
    queue_range(q, &min, &max);
    assert_int_equal(min, EXPIRED);
    assert_int_equal(max, MANY);
    queue_unref(q);
    fixture_fini(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_flipped_bit_of_a_unit_is_repaired_after_an_orderly_stop),
        cmocka_unit_test(any_flipped_bit_of_a_unit_is_repaired_after_a_kill),
        cmocka_unit_test(a_record_of_another_queue_is_not_served),
        cmocka_unit_test(a_unit_that_only_looks_expired_does_not_hide_those_in_front_of_it),
    };
    log_set_level((enum log_level)(LOG_ERROR + 1));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
