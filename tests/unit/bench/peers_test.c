/* bench/peers.c and the answers of bench/peer_redis.c, peer_nats.c and peer_beanstalkd.c */
#include "tests/support/test.h"

#include "bench/peers.h"

/* Every prefix of the text must be "more is needed", the whole must give `used` and `kind`. */
static void expect_answer(const struct peer *peer, const char *text, int64_t used,
                          enum answer_kind kind, int64_t seq)
{
    struct err e;
    struct buf out;
    buf_init(&out, 0);
    char in[512];
    const size_t n = strlen(text);
    for (size_t have = 0; have < (size_t)used; have++) {
        struct answer a = {.kind = ANSWER_DONE, .seq = -1, .units = 1};
        memcpy(in, text, have);
        const int64_t got = peer->driver->answer(NULL, 0, in, have, &out, &a, &e);
        if (got != 0)
            fail_msg("%s: %zu bytes of \"%s\" gave %lld", peer->name, have, text, (long long)got);
    }
    struct answer a = {.kind = ANSWER_DONE, .seq = -1, .units = 1};
    memcpy(in, text, n);
    assert_int_equal(peer->driver->answer(NULL, 0, in, n, &out, &a, &e), used);
    assert_int_equal(a.kind, kind);
    assert_int_equal(a.seq, seq);
    buf_free(&out);
}

static void expect_refused_bytes(const struct peer *peer, const char *text)
{
    struct err e;
    struct buf out;
    struct answer a = {.kind = ANSWER_DONE, .seq = -1, .units = 1};
    char in[512];
    buf_init(&out, 0);
    memcpy(in, text, strlen(text));
    const int64_t got = peer->driver->answer(NULL, 0, in, strlen(text), &out, &a, &e);
    if (got >= 0)
        fail_msg("%s took \"%s\" as %lld bytes", peer->name, text, (long long)got);
    buf_free(&out);
}

static void redis_acknowledges_with_the_id_of_the_entry(void **state)
{
    (void)state;
    expect_answer(&peer_redis, "$15\r\n1700000000000-0\r\n", 22, ANSWER_DONE, -1);
    expect_answer(&peer_redis, "$3\r\n1-0\r\n$3\r\n", 9, ANSWER_DONE, -1);
}

static void a_redis_error_is_a_refusal(void **state)
{
    (void)state;
    expect_answer(&peer_redis, "-OOM command not allowed\r\n", 26, ANSWER_REFUSED, -1);
}

static void malformed_redis_answers_end_the_run(void **state)
{
    (void)state;
    static const char *const bad[] = {"+OK\r\n",
                                      ":1\r\n",
                                      "$-1\r\n",
                                      "$\r\n",
                                      "$0\r\n\r\n",
                                      "$x\r\n",
                                      "$999999999\r\n",
                                      "$3\r\n1-0xx",
                                      "\r\n",
                                      "$3\n",
                                      "$99999999999999999999\r\n",
                                      "\n"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        expect_refused_bytes(&peer_redis, bad[i]);
}

static void beanstalkd_acknowledges_with_the_id_of_the_job(void **state)
{
    (void)state;
    expect_answer(&peer_beanstalkd, "INSERTED 17\r\nINS", 13, ANSWER_DONE, -1);
}

static void every_other_line_of_beanstalkd_is_a_refusal(void **state)
{
    (void)state;
    expect_answer(&peer_beanstalkd, "BURIED 3\r\n", 10, ANSWER_REFUSED, -1);
    expect_answer(&peer_beanstalkd, "OUT_OF_MEMORY\r\n", 15, ANSWER_REFUSED, -1);
    expect_answer(&peer_beanstalkd, "DRAINING\r\n", 10, ANSWER_REFUSED, -1);
}

static void malformed_beanstalkd_answers_end_the_run(void **state)
{
    (void)state;
    expect_refused_bytes(&peer_beanstalkd, "INSERTED \r\n");
    expect_refused_bytes(&peer_beanstalkd, "INSERTED x\r\n");
    expect_refused_bytes(&peer_beanstalkd, "INSERTED 17\n");
}

static void a_nats_reply_names_its_request(void **state)
{
    (void)state;
    expect_answer(&peer_nats, "MSG _R.00003.0000000042 1 25\r\n{\"stream\":\"B\",\"seq\":1234}\r\n",
                  57, ANSWER_DONE, 42);
    /* 2.9 leaves two blanks where the reply subject of the reply could be */
    expect_answer(&peer_nats,
                  "MSG _R.00003.0000000042 1  25\r\n{\"stream\":\"B\",\"seq\":1234}\r\n", 58,
                  ANSWER_DONE, 42);
}

static void a_nats_reply_with_an_error_is_a_refusal(void **state)
{
    (void)state;
    expect_answer(&peer_nats, "MSG _R.00000.0000000001 1 21\r\n{\"error\":{\"code\":503}\r\n", 53,
                  ANSWER_REFUSED, 1);
    expect_answer(&peer_nats, "MSG _R.00000.0000000001 1 0\r\n\r\n", 31, ANSWER_REFUSED, 1);
}

static void the_ping_of_nats_is_answered(void **state)
{
    (void)state;
    struct err e;
    struct buf out;
    struct answer a = {0};
    char ping[] = "PING\r\n";
    buf_init(&out, 0);
    assert_int_equal(peer_nats.driver->answer(NULL, 0, ping, 6, &out, &a, &e), 6);
    assert_int_equal(a.kind, ANSWER_OTHER);
    assert_true(slice_eq_str(buf_slice(&out), "PONG\r\n"));
    buf_free(&out);
}

static void malformed_nats_answers_end_the_run(void **state)
{
    (void)state;
    static const char *const bad[] = {"-ERR 'Authorization Violation'\r\n",
                                      "HELLO\r\n",
                                      "MSG\r\n",
                                      "MSG _R.00000.0000000001\r\n",
                                      "MSG _R.00000.0000000001 1\r\n",
                                      "MSG _R.00000.0000000001 1 \r\n",
                                      "MSG _R.00000.0000000001 1 -1\r\n",
                                      "MSG _R.00000.0000000001 1 99999999\r\n",
                                      "MSG _R.00000.00000000x1 1 2\r\n{}\r\n",
                                      "MSG _R.00000.1 1 2\r\n{}\r\n",
                                      "MSG other.00000.0000000001 1 2\r\n{}\r\n",
                                      "MSG _R.00000.0000000001 1 2\r\n{}xx"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        expect_refused_bytes(&peer_nats, bad[i]);
}

static void a_line_without_end_is_refused_when_it_is_too_long(void **state)
{
    (void)state;
    static char text[100 * 1024];
    struct slice line;
    struct err e;
    memset(text, 'x', sizeof text);
    assert_int_equal(peer_line(text, 1000, &line, &e), 0);
    assert_int_equal(peer_line(text, sizeof text, &line, &e), E_PROTO);
}

static void a_count_is_a_number_after_its_name(void **state)
{
    (void)state;
    struct err e;
    struct buf text;
    int64_t v = 0;
    buf_init(&text, 0);
    buf_str(&text, "current-jobs-ready: 123\nother: x\nlast: ");
    assert_int_equal(peer_number(&text, "current-jobs-ready: ", &v, &e), 0);
    assert_int_equal(v, 123);
    assert_int_equal(peer_number(&text, "other: ", &v, &e), E_PROTO);
    assert_int_equal(peer_number(&text, "last: ", &v, &e), E_PROTO);
    assert_int_equal(peer_number(&text, "absent: ", &v, &e), E_PROTO);
    buf_free(&text);
}

static void requests_carry_the_whole_body(void **state)
{
    (void)state;
    static const struct peer *const peers[] = {&peer_redis, &peer_nats, &peer_beanstalkd};
    for (size_t i = 0; i < 3; i++) {
        struct peer_load l = {.body = 52};
        struct buf out;
        buf_init(&out, 0);
        assert_int_equal(peers[i]->build(&l), 0);
        assert_int_equal(peers[i]->driver->request(&l, 7, 12, &out), 0);
        const char *want = "52\r\nabcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz\r\n";
        assert_non_null(memmem(out.p, out.n, want, strlen(want)));
        buf_free(&out);
        buf_free(&l.frame);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(redis_acknowledges_with_the_id_of_the_entry),
        cmocka_unit_test(a_redis_error_is_a_refusal),
        cmocka_unit_test(malformed_redis_answers_end_the_run),
        cmocka_unit_test(beanstalkd_acknowledges_with_the_id_of_the_job),
        cmocka_unit_test(every_other_line_of_beanstalkd_is_a_refusal),
        cmocka_unit_test(malformed_beanstalkd_answers_end_the_run),
        cmocka_unit_test(a_nats_reply_names_its_request),
        cmocka_unit_test(a_nats_reply_with_an_error_is_a_refusal),
        cmocka_unit_test(the_ping_of_nats_is_answered),
        cmocka_unit_test(malformed_nats_answers_end_the_run),
        cmocka_unit_test(a_line_without_end_is_refused_when_it_is_too_long),
        cmocka_unit_test(a_count_is_a_number_after_its_name),
        cmocka_unit_test(requests_carry_the_whole_body),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
