#include "tests/support/test.h"

#include <stdlib.h>

#include "base/buf.h"
#include "proto/command.h"
#include "remoting/frame.h"
#include "tests/support/golden.h"
#include "tests/support/seed.h"

enum { MAX = 1024 };

/* A frame with the given words, followed by `rest` zero bytes. */
static int cut(uint32_t length, uint32_t header_word, size_t rest, struct frame *f, struct err *e)
{
    static char bytes[8 + 4096];
    assert_true(rest <= 4096);
    be32_put(bytes, length);
    be32_put(bytes + 4, header_word);
    return frame_next(bytes, 8 + rest, MAX, f, e);
}

static void a_whole_frame_tells_where_its_parts_are(void **state)
{
    (void)state;
    struct frame f;
    struct err e = {0};
    assert_ok(cut(4 + 10 + 5, 10, 15, &f, &e), &e);
    assert_int_equal(f.total, 23);
    assert_int_equal(f.type, COMMAND_JSON);
    assert_int_equal(f.header_at, 8);
    assert_int_equal(f.header_n, 10);
    assert_int_equal(f.body_at, 18);
    assert_int_equal(f.body_n, 5);
    assert_ok(cut(4 + 10, 0x01000000 | 10, 10, &f, &e), &e);
    assert_int_equal(f.type, COMMAND_ROCKETMQ);
    assert_int_equal(f.body_n, 0);
    assert_ok(cut(4, 0, 0, &f, &e), &e); /* no header, no body: the decoder's business */
    assert_int_equal(f.total, 8);
}

static void every_truncation_asks_for_more_and_says_how_much_once_known(void **state)
{
    (void)state;
    struct buf b;
    struct err e = {0};
    struct frame f;
    buf_init(&b, 0);
    struct command_out c = {.code = 105, .type = COMMAND_JSON};
    assert_ok(command_encode(&b, &c, 3, &e), &e);
    buf_str(&b, "abc");
    for (size_t n = 0; n < b.n; n++) {
        assert_code(frame_next(b.p, n, MAX, &f, &e), E_AGAIN, &e);
        assert_int_equal(f.total, n < 4 ? 0 : b.n);
    }
    assert_ok(frame_next(b.p, b.n, MAX, &f, &e), &e);
    buf_str(&b, "the next frame");
    assert_ok(frame_next(b.p, b.n, MAX, &f, &e), &e);
    assert_int_equal(f.body_n, 3);
    buf_free(&b);
}

static void a_lying_length_is_a_protocol_error_as_soon_as_it_is_seen(void **state)
{
    (void)state;
    static const uint32_t lies[] = {0, 3, MAX - 3, MAX, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFC, 0xFFFFFFFF};
    struct frame f;
    struct err e;
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        char word[4];
        be32_put(word, lies[i]);
        assert_code(frame_next(word, 4, MAX, &f, &e), E_PROTO, &e);
    }
    assert_code(cut(MAX - 4, 0, 0, &f, &e), E_AGAIN, NULL); /* the largest that is allowed */
    assert_int_equal(f.total, MAX);
}

static void a_header_longer_than_its_frame_is_a_protocol_error(void **state)
{
    (void)state;
    struct frame f;
    struct err e;
    assert_code(cut(4 + 10, 11, 0, &f, &e), E_PROTO, &e);
    assert_code(cut(4 + 10, 0x00FFFFFF, 0, &f, &e), E_PROTO, &e);
    assert_code(cut(4 + 10, 10, 0, &f, &e), E_AGAIN, NULL);
}

static void an_unknown_serialize_type_is_a_protocol_error(void **state)
{
    (void)state;
    struct frame f;
    struct err e;
    for (uint32_t type = 2; type < 256; type++)
        assert_code(cut(4, type << 24, 0, &f, &e), E_PROTO, &e);
}

static void random_words_never_point_outside_the_frame(void **state)
{
    (void)state;
    struct rng rng = test_rng("frame words");
    for (int i = 0; i < 200000; i++) {
        struct frame f;
        uint32_t length = (uint32_t)rng_below(&rng, 2048);
        uint32_t word = (uint32_t)(rng_below(&rng, 3) << 24 | rng_below(&rng, 2048));
        if (cut(length, word, 4096, &f, NULL) != 0)
            continue;
        assert_in_range(f.total, 8, MAX);
        assert_int_equal(f.header_at + f.header_n, f.body_at);
        assert_int_equal(f.body_at + f.body_n, f.total);
    }
}

static void recorded_conversations_are_cut_where_they_were_recorded(void **state)
{
    (void)state;
    struct golden g;
    struct err e = {0};
    assert_ok(golden_load("", &g, &e), &e);
    size_t cut_n = 0;
    for (size_t i = 0; i < g.n; i++) {
        const struct golden_frame *gf = &g.frames[i];
        if (strcmp(gf->kind, "raw") == 0)
            continue;
        struct frame f;
        assert_ok(frame_next(gf->bytes.p, gf->bytes.n, FRAME_MAX, &f, &e), &e);
        assert_int_equal(f.total, gf->bytes.n);
        assert_int_equal(f.body_n, gf->body_len);
        assert_int_equal(f.type, gf->binary_header ? COMMAND_ROCKETMQ : COMMAND_JSON);
        cut_n++;
    }
    print_message("%zu frames\n", cut_n);
    assert_true(cut_n > 1000);
    golden_free(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_frame_tells_where_its_parts_are),
        cmocka_unit_test(every_truncation_asks_for_more_and_says_how_much_once_known),
        cmocka_unit_test(a_lying_length_is_a_protocol_error_as_soon_as_it_is_seen),
        cmocka_unit_test(a_header_longer_than_its_frame_is_a_protocol_error),
        cmocka_unit_test(an_unknown_serialize_type_is_a_protocol_error),
        cmocka_unit_test(random_words_never_point_outside_the_frame),
        cmocka_unit_test(recorded_conversations_are_cut_where_they_were_recorded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
