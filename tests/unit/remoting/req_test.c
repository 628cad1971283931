#include "tests/unit/remoting/echo_server.h"

static void answers_leave_in_the_order_in_which_handlers_finish(void **state)
{
    struct fixture *f = *state;
    struct server_opts o = opts(f);
    int fd = serve_and_connect(f, &o);
    for (int i = 0; i < 10; i++)
        peer_request(fd, CODE_PARK, i);
    peer_request(fd, CODE_ECHO, 100);
    expect_answer(fd, 100, RESP_SUCCESS);
    release_parked(f, true);
    for (int i = 9; i >= 0; i--)
        expect_answer(fd, i, RESP_SUCCESS);
    close(fd);
}

static void a_oneway_request_writes_nothing(void **state)
{
    struct fixture *f = *state;
    struct server_opts o = opts(f);
    int fd = serve_and_connect(f, &o);
    struct buf b;
    buf_init(&b, 0);
    put_request(&b, CODE_ECHO, 1, COMMAND_FLAG_ONEWAY, SLICE_LIT("x"));
    put_request(&b, CODE_PIECES, 2, COMMAND_FLAG_ONEWAY, SLICE_LIT("20000"));
    put_request(&b, 7777, 3, COMMAND_FLAG_ONEWAY, SLICE_NULL); /* not even an error */
    put_request(&b, CODE_ECHO, 4, 0, SLICE_LIT("y"));
    peer_send(fd, buf_slice(&b));
    expect_answer(fd, 4, RESP_SUCCESS);
    assert_int_equal(f->served, 2);
    assert_true(wait_until(has_released, &(struct count){f, 1}, DEADLINE_MS));
    buf_free(&b);
    close(fd);
}

static void a_missing_header_field_is_answered_with_its_name(void **state)
{
    struct fixture *f = *state;
    struct server_opts o = opts(f);
    int fd = serve_and_connect(f, &o);
    peer_request(fd, RC_VIEW_MESSAGE_BY_ID, 5);
    struct answer a;
    peer_answer(fd, &a);
    assert_int_equal(a.command.code, RESP_SYSTEM_ERROR);
    char remark[256];
    assert_int_equal(slice_copy(a.command.remark, remark, sizeof remark), 0);
    assert_contains(remark, "offset");
    answer_free(&a);
    peer_request(fd, CODE_ECHO, 6); /* the connection goes on */
    expect_answer(fd, 6, RESP_SUCCESS);
    close(fd);
}

/* Keeps 200 requests of that code while more than a block of other bytes goes by. */
static void expect_kept(void **state, int32_t code)
{
    struct fixture *f = *state;
    struct server_opts o = opts(f);
    int fd = serve_and_connect(f, &o);
    char body[32];
    for (int i = 0; i < 200; i++) {
        snprintf(body, sizeof body, "kept %d", i);
        request_with_body(fd, code, i, body);
    }
    for (int i = 0; i < 2000; i++)
        request_with_body(fd, CODE_ECHO, 1000 + i, "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz");
    for (int i = 0; i < 2000; i++)
        expect_answer(fd, 1000 + i, RESP_SUCCESS);
    release_parked(f, false);
    for (int i = 0; i < 200; i++) {
        struct answer a;
        peer_answer(fd, &a);
        snprintf(body, sizeof body, "kept %d", i);
        assert_int_equal(a.command.opaque, i);
        assert_slice_equal(a.command.body, body);
        answer_free(&a);
    }
    close(fd);
}

static void an_input_that_was_owned_survives_the_block_it_came_in(void **state)
{
    expect_kept(state, CODE_OWN);
}

static void an_input_that_was_not_dropped_keeps_its_block(void **state)
{
    expect_kept(state, CODE_PARK);
}

static void a_dropped_input_can_still_be_answered(void **state)
{
    struct fixture *f = *state;
    struct server_opts o = opts(f);
    int fd = serve_and_connect(f, &o);
    request_with_body(fd, CODE_DROP, 9, "gone");
    await_served(f, 1);
    release_parked(f, false);
    struct answer a;
    peer_answer(fd, &a);
    assert_int_equal(a.command.opaque, 9);
    assert_int_equal(a.command.body.n, 0);
    answer_free(&a);
    close(fd);
}

static void a_body_of_pieces_is_sent_whole_and_released_once(void **state)
{
    static const char *const sizes[] = {"0", "1", "100", "2000", "20000"};
    struct fixture *f = *state;
    struct server_opts o = opts(f);
    int fd = serve_and_connect(f, &o);
    for (int i = 0; i < 5; i++) {
        request_with_body(fd, CODE_PIECES, i, sizes[i]);
        struct answer a;
        peer_answer(fd, &a);
        int32_t n;
        assert_int_equal(slice_i32(slice_str(sizes[i]), &n), 0);
        assert_int_equal(a.command.body.n, 3 * n);
        assert_memory_equal(a.command.body.p, f->big, (size_t)(3 * n));
        assert_slice_equal(a.command.remark, "pieces");
        answer_free(&a);
    }
    close(fd);
    await_empty(f);
    assert_int_equal(f->releases, 5);
}

static void a_connection_may_close_with_requests_in_flight(void **state)
{
    struct fixture *f = *state;
    struct server_opts o = opts(f);
    o.on_close = rig_on_close; /* what is parked stays parked */
    int fd = serve_and_connect(f, &o);
    for (int i = 0; i < 20; i++)
        request_with_body(fd, i % 2 == 0 ? CODE_PARK : CODE_OWN, i, "late");
    await_served(f, 20);
    close(fd);
    await_empty(f);
    assert_int_equal(f->rig.closed, 1);
    release_parked(f, false); /* answers to nobody are freed silently */
    server_close(f->rig.server);
    f->rig.server = NULL;
}

int main(void)
{
    log_set_level(LOG_ERROR);
    const struct CMUnitTest tests[] = {
        TEST(answers_leave_in_the_order_in_which_handlers_finish),
        TEST(a_oneway_request_writes_nothing),
        TEST(a_missing_header_field_is_answered_with_its_name),
        TEST(an_input_that_was_owned_survives_the_block_it_came_in),
        TEST(an_input_that_was_not_dropped_keeps_its_block),
        TEST(a_dropped_input_can_still_be_answered),
        TEST(a_body_of_pieces_is_sent_whole_and_released_once),
        TEST(a_connection_may_close_with_requests_in_flight),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
