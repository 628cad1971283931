/* bench/rmq.c, rmq_send.c and rmq_pull.c: frames that are built, answers that are taken */
#include "tests/support/test.h"

#include <stdio.h>

#include "bench/rmq.h"
#include "remoting/frame.h"

static void add_answer(struct buf *b, const char *header, struct slice body)
{
    buf_be32(b, (uint32_t)(4 + strlen(header) + body.n));
    buf_be32(b, (uint32_t)strlen(header));
    buf_str(b, header);
    buf_slice_add(b, body);
}

/* Decodes the frame at the head of b with the decoder that the servers use. */
static void decode(struct buf *b, struct command *c)
{
    struct frame f;
    struct err e;
    assert_ok(frame_next(b->p, b->n, FRAME_MAX, &f, &e), &e);
    assert_int_equal(f.total, b->n);
    assert_ok(command_decode(b->p + f.header_at, f.header_n, f.type, c, NULL, &e), &e);
    c->body = slice_of(b->p + f.body_at, f.body_n);
}

static void an_answer_is_taken_when_it_is_whole(void **state)
{
    (void)state;
    struct buf b;
    struct rmq_answer r;
    struct err e;
    buf_init(&b, 0);
    add_answer(&b, "{\"code\":0,\"opaque\":12,\"extFields\":{\"queueOffset\":\"34\"}}",
               SLICE_LIT("body"));
    for (size_t n = 0; n < b.n; n++)
        assert_int_equal(rmq_answer(b.p, n, &r, &e), 0);
    assert_int_equal(rmq_answer(b.p, b.n, &r, &e), b.n);
    assert_int_equal(r.code, 0);
    assert_int_equal(r.opaque, 12);
    assert_int_equal(rmq_number(r.header, "queueOffset"), 34);
    assert_slice_equal(r.body, "body");
    buf_free(&b);
}

static void an_answer_that_does_not_fit_its_lengths_is_refused(void **state)
{
    (void)state;
    static const unsigned char bad[][8] = {
        {0, 0, 0, 0, 0, 0, 0, 0},             /* no header word */
        {0x7F, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0}, /* larger than any frame */
        {0, 0, 0, 8, 0, 0, 0, 5},             /* the header is longer than the frame */
        {0, 0, 0, 4, 0, 0, 0, 0}};            /* no code, no opaque */
    struct rmq_answer r;
    struct err e;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_code(rmq_answer((const char *)bad[i], 8, &r, &e), E_PROTO, &e);
}

static void members_are_found_or_absent(void **state)
{
    (void)state;
    const struct slice h =
        SLICE_LIT("{\"a\":\"x\",\"n\":\"007\",\"m\":5,\"bad\":\"z\",\"open\":\"y");
    assert_slice_equal(rmq_text(h, "a"), "x");
    assert_int_equal(rmq_number(h, "n"), 7);
    assert_int_equal(rmq_number(h, "m"), 5);
    assert_int_equal(rmq_number(h, "bad"), -1);
    assert_int_equal(rmq_number(h, "absent"), -1);
    assert_null(rmq_text(h, "open").p);
    assert_null(rmq_text(h, "m").p);
    assert_int_equal(rmq_number(SLICE_LIT("\"n\":99999999999999999999999"), "n") > 0, 1);
}

static void a_send_names_its_queue_key_and_number(void **state)
{
    (void)state;
    const struct rmq_topics to = {"T", 1, 4};
    struct rmq_send s = {.to = &to, .body = 100, .batch = 1};
    struct buf out;
    struct err e;
    struct command c;
    int64_t v;
    assert_ok(rmq_send_init(&s, &e), &e);
    buf_init(&out, 0);
    assert_int_equal(rmq_send_driver.request(&s, 0, 6, &out), 0);
    decode(&out, &c);
    assert_int_equal(c.code, RC_SEND_MESSAGE_V2);
    assert_int_equal(c.opaque, RMQ_OPAQUE + 6);
    assert_slice_equal(command_ext(&c, "b"), "T");
    assert_ok(slice_i64(command_ext(&c, "e"), &v), NULL);
    assert_int_equal(v, 2);
    assert_int_equal(c.body.n, 100);
    assert_slice_equal(slice_of(c.body.p, RMQ_SEQ_DIGITS), "0000000000000006");
    assert_slice_equal(props_str_get(command_ext(&c, "i"), PROP_UNIQ_KEY),
                       "7F0000010000BEEF0000000000000006");
    buf_free(&out);
    rmq_send_free(&s);
}

static void a_batch_numbers_each_of_its_messages(void **state)
{
    (void)state;
    const struct rmq_topics to = {"Many", 100, 8};
    struct rmq_send s = {.to = &to, .body = 64, .batch = 3};
    struct buf out;
    struct err e;
    struct command c;
    assert_ok(rmq_send_init(&s, &e), &e);
    buf_init(&out, 0);
    assert_int_equal(rmq_send_driver.request(&s, 0, 205, &out), 0);
    decode(&out, &c);
    assert_int_equal(c.code, RC_SEND_BATCH_MESSAGE);
    assert_slice_equal(command_ext(&c, "b"), "Many-00005");
    assert_slice_equal(command_ext(&c, "m"), "true");
    struct slice rest = c.body;
    for (int i = 0; i < 3; i++) {
        struct batch_item item;
        char number[17], key[40];
        assert_ok(batch_next(&rest, &item, &e), &e);
        snprintf(number, sizeof number, "%016d", 205 * 3 + i);
        snprintf(key, sizeof key, "7F0000010000BEEF%016d", 205 * 3 + i);
        assert_int_equal(item.body.n, 64);
        assert_slice_equal(slice_of(item.body.p, RMQ_SEQ_DIGITS), number);
        assert_slice_equal(props_str_get(item.properties, PROP_UNIQ_KEY), key);
    }
    assert_int_equal(rest.n, 0);
    buf_free(&out);
    rmq_send_free(&s);
}

static void a_half_message_is_committed_at_the_place_its_answer_names(void **state)
{
    (void)state;
    const struct rmq_topics to = {"T", 1, 4};
    struct rmq_send s = {.to = &to, .body = 64, .batch = 1, .tx = true};
    struct buf in, out;
    struct err e;
    struct command c;
    struct answer a = {.kind = ANSWER_DONE};
    int64_t v;
    assert_ok(rmq_send_init(&s, &e), &e);
    buf_init(&in, 0);
    buf_init(&out, 0);
    add_answer(&in,
               "{\"code\":0,\"extFields\":{\"msgId\":\"7F00000100002A9F00000000000004D2\","
               "\"queueOffset\":\"77\"},\"opaque\":1000000009}",
               SLICE_NULL);
    assert_int_equal(rmq_send_driver.answer(&s, 0, in.p, in.n, &out, &a, &e), in.n);
    assert_int_equal(a.kind, ANSWER_AGAIN);
    decode(&out, &c);
    assert_int_equal(c.code, RC_END_TRANSACTION);
    assert_int_equal(c.opaque, 2000000009);
    assert_ok(slice_i64(command_ext(&c, "commitLogOffset"), &v), NULL);
    assert_int_equal(v, 0x4D2);
    assert_ok(slice_i64(command_ext(&c, "tranStateTableOffset"), &v), NULL);
    assert_int_equal(v, 77);
    assert_slice_equal(command_ext(&c, "msgId"), "7F0000010000BEEF0000000000000009");

    buf_clear(&in);
    add_answer(&in, "{\"code\":0,\"opaque\":2000000009}", SLICE_NULL);
    a = (struct answer){.kind = ANSWER_DONE};
    assert_int_equal(rmq_send_driver.answer(&s, 0, in.p, in.n, &out, &a, &e), in.n);
    assert_int_equal(a.kind, ANSWER_DONE);
    assert_int_equal(a.seq, 9);
    buf_free(&in);
    buf_free(&out);
    rmq_send_free(&s);
}

static void a_half_answer_without_its_place_ends_the_run(void **state)
{
    (void)state;
    const struct rmq_topics to = {"T", 1, 4};
    struct rmq_send s = {.to = &to, .body = 64, .batch = 1, .tx = true};
    struct buf in, out;
    struct err e;
    struct answer a = {.kind = ANSWER_DONE};
    assert_ok(rmq_send_init(&s, &e), &e);
    buf_init(&in, 0);
    buf_init(&out, 0);
    add_answer(&in, "{\"code\":0,\"extFields\":{\"queueOffset\":\"77\"},\"opaque\":1000000009}",
               SLICE_NULL);
    assert_code(rmq_send_driver.answer(&s, 0, in.p, in.n, &out, &a, &e), E_PROTO, &e);
    buf_free(&in);
    buf_free(&out);
    rmq_send_free(&s);
}

/* --- pulls --- */

static void add_record(struct buf *b, int64_t queue_offset)
{
    struct message m = {.body_crc = -1,
                        .body = SLICE_LIT("0000000000000001"),
                        .topic = SLICE_LIT("T"),
                        .queue_offset = queue_offset};
    m.born_host.len = m.store_host.len = 4;
    size_t size;
    assert_int_equal(message_prepare(&m, &size), 0);
    message_encode(&m, buf_extend(b, size), size);
}

struct pulls {
    struct rmq_topics from;
    struct rmq_pull p;
    struct buf in, out, body;
    struct answer a;
    struct err e;
};

static int64_t answer_pull(struct pulls *t, int code, int64_t next, int slot)
{
    char header[256];
    snprintf(header, sizeof header,
             "{\"code\":%d,\"extFields\":{\"nextBeginOffset\":\"%lld\"},\"opaque\":%d}", code,
             (long long)next, RMQ_OPAQUE + slot);
    buf_clear(&t->in);
    add_answer(&t->in, header, buf_slice(&t->body));
    return rmq_pull_driver.answer(&t->p, slot % t->p.links, t->in.p, t->in.n, &t->out, &t->a,
                                  &t->e);
}

static void pulls_begin(struct pulls *t, enum rmq_pull_mode mode)
{
    *t = (struct pulls){.from = {"T", 1, 2}};
    t->p = (struct rmq_pull){.from = &t->from, .mode = mode, .links = 1, .max = 32, .slots_n = 2};
    buf_init(&t->in, 0);
    buf_init(&t->out, 0);
    buf_init(&t->body, 0);
    assert_ok(rmq_pull_init(&t->p, &t->e), &t->e);
    assert_int_equal(rmq_pull_driver.request(&t->p, 0, 0, &t->out), 0);
    assert_int_equal(rmq_pull_driver.request(&t->p, 0, 1, &t->out), 0);
    assert_int_equal(rmq_pull_driver.request(&t->p, 0, 2, &t->out), E_AGAIN);
}

static void pulls_end(struct pulls *t)
{
    buf_free(&t->in);
    buf_free(&t->out);
    buf_free(&t->body);
    rmq_pull_free(&t->p);
}

static void a_scan_reads_on_and_ends_at_the_end_of_each_queue(void **state)
{
    (void)state;
    struct pulls t;
    pulls_begin(&t, RMQ_SCAN);
    add_record(&t.body, 0);
    add_record(&t.body, 1);
    assert_true(answer_pull(&t, RESP_SUCCESS, 2, 0) > 0);
    assert_int_equal(t.a.units, 2);
    assert_int_equal(t.p.slot[0].offset, 2);
    buf_clear(&t.body);
    assert_true(answer_pull(&t, RESP_PULL_NOT_FOUND, 0, 1) > 0);
    assert_false(rmq_pull_ended(&t.p));
    assert_int_equal(rmq_pull_driver.request(&t.p, 0, 3, &t.out), 0);
    assert_true(answer_pull(&t, RESP_PULL_NOT_FOUND, 2, 0) > 0);
    assert_true(rmq_pull_ended(&t.p));
    assert_int_equal(rmq_pull_driver.request(&t.p, 0, 4, &t.out), E_AGAIN);
    rmq_pull_again(&t.p);
    assert_int_equal(rmq_pull_driver.request(&t.p, 0, 5, &t.out), 0);
    pulls_end(&t);
}

static void a_round_begins_again_and_refuses_an_empty_queue(void **state)
{
    (void)state;
    struct pulls t;
    pulls_begin(&t, RMQ_ROUND);
    add_record(&t.body, 0);
    assert_true(answer_pull(&t, RESP_SUCCESS, 1, 0) > 0);
    assert_int_equal(rmq_pull_driver.request(&t.p, 0, 3, &t.out), 0);
    buf_clear(&t.body);
    assert_true(answer_pull(&t, RESP_PULL_NOT_FOUND, 1, 0) > 0);
    assert_int_equal(t.p.slot[0].offset, 0);
    assert_code(answer_pull(&t, RESP_PULL_NOT_FOUND, 0, 1), E_NOTFOUND, &t.e);
    pulls_end(&t);
}

static void an_answer_that_skips_a_message_is_corrupt(void **state)
{
    (void)state;
    struct pulls t;
    pulls_begin(&t, RMQ_SCAN);
    add_record(&t.body, 0);
    assert_code(answer_pull(&t, RESP_SUCCESS, 2, 0), E_CORRUPT, &t.e);
    pulls_end(&t);
}

static void bad_pull_answers_end_the_run(void **state)
{
    (void)state;
    struct pulls t;
    pulls_begin(&t, RMQ_FOLLOW);
    assert_code(answer_pull(&t, RESP_SUCCESS, 1, 2), E_PROTO, &t.e);       /* no such slot */
    assert_code(answer_pull(&t, RESP_SYSTEM_ERROR, 0, 0), E_REMOTE, &t.e); /* refused */
    assert_code(answer_pull(&t, RESP_SUCCESS, 0, 0), E_REMOTE, &t.e);      /* does not advance */
    buf_be32(&t.body, 7);
    assert_code(answer_pull(&t, RESP_SUCCESS, 1, 0), E_PROTO, &t.e); /* a record of 7 bytes */
    buf_clear(&t.body);
    add_record(&t.body, 0);
    be32_put(t.body.p, (uint32_t)t.body.n + 1);
    assert_code(answer_pull(&t, RESP_SUCCESS, 1, 1), E_PROTO, &t.e); /* longer than the body */
    pulls_end(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_is_taken_when_it_is_whole),
        cmocka_unit_test(an_answer_that_does_not_fit_its_lengths_is_refused),
        cmocka_unit_test(members_are_found_or_absent),
        cmocka_unit_test(a_send_names_its_queue_key_and_number),
        cmocka_unit_test(a_batch_numbers_each_of_its_messages),
        cmocka_unit_test(a_half_message_is_committed_at_the_place_its_answer_names),
        cmocka_unit_test(a_half_answer_without_its_place_ends_the_run),
        cmocka_unit_test(a_scan_reads_on_and_ends_at_the_end_of_each_queue),
        cmocka_unit_test(a_round_begins_again_and_refuses_an_empty_queue),
        cmocka_unit_test(an_answer_that_skips_a_message_is_corrupt),
        cmocka_unit_test(bad_pull_answers_end_the_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
