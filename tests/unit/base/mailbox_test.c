/* base/mailbox.c: order, bounded turns, and closing with mail inside. */
#include "tests/support/test.h"

#include <stdlib.h>

#include "base/mailbox.h"

static struct {
    uv_loop_t loop;
    struct mailbox mb;
    int delivered, last, closed;
    int delivered_before_other; /* mails delivered when another handle first ran */
} t;

struct letter {
    struct mail mail;
    int n;
};

static int setup(void **state)
{
    (void)state;
    struct err e;
    memset(&t, 0, sizeof t);
    t.last = -1;
    assert_int_equal(uv_loop_init(&t.loop), 0);
    assert_ok(mailbox_open(&t.mb, &t.loop, &e), &e);
    return 0;
}

/* Every test must have closed its mailbox: an empty loop is part of what is tested. */
static int teardown(void **state)
{
    (void)state;
    assert_int_equal(uv_run(&t.loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(t.closed, 1);
    assert_int_equal(uv_loop_close(&t.loop), 0);
    return 0;
}

static void on_closed(struct mailbox *mb)
{
    assert_ptr_equal(mb, &t.mb);
    t.closed++;
}

static void in_order(struct mail *m)
{
    struct letter *l = LIST_ENTRY(m, struct letter, mail);
    assert_int_equal(l->n, t.last + 1);
    t.last = l->n;
    t.delivered++;
}

static void and_close(struct mail *m)
{
    in_order(m);
    mailbox_close(&t.mb, on_closed);
}

static void mails_arrive_in_order_across_turns(void **state)
{
    (void)state;
    struct letter letters[10];
    t.mb.turn_max = 3;
    for (int i = 0; i < 10; i++) {
        letters[i] = (struct letter){.mail.deliver = in_order, .n = i};
        assert_ok(mailbox_post(&t.mb, &letters[i].mail), NULL);
    }
    uv_run(&t.loop, UV_RUN_NOWAIT);
    assert_int_equal(t.delivered, 3); /* a turn is bounded */
    for (int i = 0; i < 3; i++)
        uv_run(&t.loop, UV_RUN_NOWAIT);
    assert_int_equal(t.delivered, 10); /* and re-arms itself */
    mailbox_close(&t.mb, on_closed);
}

static void closing_delivers_what_is_queued_and_refuses_more(void **state)
{
    (void)state;
    struct letter letters[4];
    for (int i = 0; i < 4; i++)
        letters[i] = (struct letter){.mail.deliver = in_order, .n = i};
    for (int i = 0; i < 3; i++)
        assert_ok(mailbox_post(&t.mb, &letters[i].mail), NULL);
    mailbox_close(&t.mb, on_closed);
    assert_int_equal(t.delivered, 3);
    assert_int_equal(t.closed, 0); /* only when libuv is done with the handle */
    assert_code(mailbox_post(&t.mb, &letters[3].mail), E_CLOSED, NULL);
    mailbox_close(&t.mb, on_closed); /* twice is once */
    uv_run(&t.loop, UV_RUN_DEFAULT);
    assert_int_equal(t.delivered, 3);
}

static void a_mail_may_close_the_box_it_came_from(void **state)
{
    (void)state;
    struct letter letters[6];
    t.mb.turn_max = 4; /* two stay queued while the third of this turn closes */
    for (int i = 0; i < 6; i++) {
        letters[i] = (struct letter){.mail.deliver = i == 2 ? and_close : in_order, .n = i};
        assert_ok(mailbox_post(&t.mb, &letters[i].mail), NULL);
    }
    uv_run(&t.loop, UV_RUN_DEFAULT);
    assert_int_equal(t.delivered, 6); /* in_order has checked the order */
}

static void repost(struct mail *m)
{
    if (++t.delivered < 50)
        assert_ok(mailbox_post(&t.mb, m), NULL);
    else
        mailbox_close(&t.mb, on_closed);
}

static void a_mail_may_be_posted_again_while_delivered(void **state)
{
    (void)state;
    struct letter l = {.mail.deliver = repost};
    assert_ok(mailbox_post(&t.mb, &l.mail), NULL);
    uv_run(&t.loop, UV_RUN_DEFAULT);
    assert_int_equal(t.delivered, 50);
}

enum { POSTERS = 4, EACH = 5000 };

static int next_of[POSTERS];

static void count_per_poster(struct mail *m)
{
    struct letter *l = LIST_ENTRY(m, struct letter, mail);
    int poster = l->n / EACH, seq = l->n % EACH;
    assert_int_equal(seq, next_of[poster]++);
    free(l);
    if (++t.delivered == POSTERS * EACH)
        mailbox_close(&t.mb, on_closed);
}

static void post_many(void *arg)
{
    int poster = *(int *)arg;
    for (int i = 0; i < EACH; i++) {
        struct letter *l = malloc(sizeof *l);
        *l = (struct letter){.mail.deliver = count_per_poster, .n = poster * EACH + i};
        if (mailbox_post(&t.mb, &l->mail))
            abort();
    }
}

static void many_threads_post_without_loss_and_in_their_own_order(void **state)
{
    (void)state;
    uv_thread_t threads[POSTERS];
    int ids[POSTERS];
    memset(next_of, 0, sizeof next_of);
    for (int i = 0; i < POSTERS; i++) {
        ids[i] = i;
        assert_int_equal(uv_thread_create(&threads[i], post_many, &ids[i]), 0);
    }
    uv_run(&t.loop, UV_RUN_DEFAULT);
    for (int i = 0; i < POSTERS; i++)
        uv_thread_join(&threads[i]);
    assert_int_equal(t.delivered, POSTERS * EACH);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(mails_arrive_in_order_across_turns, setup, teardown),
        cmocka_unit_test_setup_teardown(closing_delivers_what_is_queued_and_refuses_more, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_mail_may_close_the_box_it_came_from, setup, teardown),
        cmocka_unit_test_setup_teardown(a_mail_may_be_posted_again_while_delivered, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(many_threads_post_without_loss_and_in_their_own_order,
                                        setup, teardown),
    };
    return cmocka_run_group_tests_name("mailbox", tests, NULL, NULL);
}
