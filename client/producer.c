/* The producer: life cycle and the public ways to send.
 *
 * The calling thread builds what travels (message_build.c), posts one mail and, for a synchronous
 * send, waits on a semaphore inside its own stack frame. Sends of many threads meet in the mailbox;
 * the loop starts all of them in one turn and remoting writes them with one system call for each
 * connection.
 *
 * Bounds: asynchronous and oneway sends are limited by async_max, synchronous ones by the number of
 * threads. Every send ends by its own deadline, so freeing a producer waits at most send_timeout_ms
 * for them.
 *
 * Runs on: application threads, except the functions that take a mail or the `_on_loop` ones. */
#include <stdlib.h>

#include "client/producer_priv.h"
#include "proto/names.h"

enum { SEND_TIMEOUT_MS = 3000, RETRIES = 2, ASYNC_MAX = 10000, MESSAGE_MAX = 4 * 1024 * 1024,
       COMPRESS_OVER = 4096, CHECK_THREADS = 2, RETRIES_MAX = 1000 };

/* --- new, free --- */

static int check_options(const struct hp_producer_options *o, struct hp_error *err)
{
    struct err e = {0};
    if (!o || !o->group || !*o->group)
        return error_set(err, HP_E_INVALID, "hp_producer_options.group is mandatory");
    if (group_name_check(slice_str(o->group), &e))
        return error_from(err, &e, E_INVAL, "hp_producer_options.group");
    if (strcmp(o->group, "DEFAULT_PRODUCER") == 0)
        return error_set(err, HP_E_INVALID,
                         "group DEFAULT_PRODUCER is reserved, choose another name");
    if (o->send_timeout_ms < 0)
        return error_set(err, HP_E_INVALID, "send_timeout_ms is negative");
    if (o->retry_times < -1 || o->retry_times > RETRIES_MAX)
        return error_set(err, HP_E_INVALID, "retry_times = %d is not between -1 and %d",
                         o->retry_times, RETRIES_MAX);
    if (o->check_threads < 0 || o->check_threads > 1024)
        return error_set(err, HP_E_INVALID, "check_threads = %d is not between 0 and 1024",
                         o->check_threads);
    return 0;
}

struct join {
    struct hp_producer *p;
    bool taken;
};

static void join_on_loop(void *arg)
{
    struct join *j = arg;
    struct hp_client *c = j->p->c;
    LIST_FOREACH(l, &c->producers)
    {
        if (strcmp(LIST_ENTRY(l, struct hp_producer, link)->group, j->p->group) == 0) {
            j->taken = true;
            return;
        }
    }
    list_push_back(&c->producers, &j->p->link);
    c->joined++;
    heartbeats_groups_changed(c);
    if (j->p->check)
        cluster_info_want(c); /* checks may come from brokers that this process has not sent to */
}

static void producer_destroy(struct hp_producer *p)
{
    free(p->group);
    free(p);
}

static struct hp_producer *producer_from(hp_client *c, const struct hp_producer_options *o)
{
    struct hp_producer *p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    p->group = slice_dup(slice_str(o->group));
    if (!p->group) {
        free(p);
        return NULL;
    }
    p->c = c;
    p->send_timeout_ms = o->send_timeout_ms ? o->send_timeout_ms : SEND_TIMEOUT_MS;
    p->attempts = 1 + (o->retry_times < 0 ? RETRIES : o->retry_times);
    p->async_max = o->async_max ? o->async_max : ASYNC_MAX;
    p->check = o->check;
    p->check_arg = o->check_arg;
    p->build = (struct build_opts){
        .group = p->group,
        .max_message_size = o->max_message_size ? o->max_message_size : MESSAGE_MAX,
        .compress_over = o->compress_over ? o->compress_over : COMPRESS_OVER,
        .ids = &c->ids,
    };
    sender_init(&p->sender, c, p->group);
    p->sender.transactions = o->check != NULL;
    return p;
}

int hp_producer_new(hp_client *c, const struct hp_producer_options *opts, hp_producer **out,
                    struct hp_error *err)
{
    int rc = check_options(opts, err);
    if (!rc)
        rc = check_may_wait(c, err);
    if (rc)
        return rc;
    struct hp_producer *p = producer_from(c, opts);
    if (!p)
        return error_set(err, HP_E_NOMEM, "out of memory for a producer");
    struct err e = {0};
    if (p->check && pool_start(&p->checks, "hp-check",
                               opts->check_threads ? opts->check_threads : CHECK_THREADS, &e)) {
        producer_destroy(p);
        return error_from(err, &e, e.code, "check threads");
    }
    struct join j = {p, false};
    rc = client_run(c, join_on_loop, &j, err);
    if (!rc && j.taken)
        rc = error_set(err, HP_E_STATE, "this client already has a producer of group %s",
                       opts->group);
    if (rc) {
        if (p->check) {
            pool_quit(&p->checks, NULL);
            pool_join(&p->checks);
        }
        producer_destroy(p);
        return rc;
    }
    *out = p;
    return 0;
}

static void on_idle(struct sender *s)
{
    sync_post(&LIST_ENTRY(s, struct hp_producer, sender)->idle);
}

static void leave_on_loop(void *arg)
{
    struct hp_producer *p = arg;
    list_remove(&p->link);
    p->c->joined--;
    p->sender.closing = true;
    if (list_empty(&p->sender.ops))
        sync_post(&p->idle);
    else
        p->sender.on_idle = on_idle;
}

static void unregistered(void *arg) { sync_post(arg); }

struct unregister {
    struct hp_producer *p;
    struct sync done;
};

static void unregister_on_loop(void *arg)
{
    struct unregister *u = arg;
    heartbeats_groups_changed(u->p->c);
    unregister_group(u->p->c, slice_str(u->p->group), SLICE_NULL, unregistered, &u->done);
}

static void drop_checks(struct hp_producer *p)
{
    struct list left, *l;
    pool_quit(&p->checks, &left);
    pool_join(&p->checks);
    while ((l = list_pop_front(&left)))
        check_drop(LIST_ENTRY(l, struct job, link));
}

void hp_producer_free(hp_producer *p)
{
    if (!p)
        return;
    struct unregister u = {.p = p};
    if (check_may_wait(p->c, NULL) || sync_init(&p->idle, NULL) || sync_init(&u.done, NULL) ||
        client_run(p->c, leave_on_loop, p, NULL)) {
        CLIENT_LOG(p->c, HP_LOG_ERROR,
                   "hp_producer_free called inside a callback of the loop: not freed");
        return;
    }
    sync_wait(&p->idle);
    if (p->check)
        drop_checks(p);
    if (client_run(p->c, unregister_on_loop, &u, NULL) == 0)
        sync_wait(&u.done);
    producer_destroy(p);
}

/* --- synchronous --- */

static void deliver_op(struct mail *m) { send_start(LIST_ENTRY(m, struct send_op, mail)); }
static void wake_sender(struct send_op *op) { sync_post(op->arg); }

/* op->out is built; consumed in any case. */
static int post_and_wait(struct hp_producer *p, struct send_op *op, struct hp_send_result *out,
                         struct hp_error *err)
{
    struct sync done;
    int rc = sync_init(&done, err);
    if (rc) {
        outgoing_fini(&op->out);
        return rc;
    }
    op->s = &p->sender;
    op->deadline_ms = clock_mono(p->c->clock) + p->send_timeout_ms;
    op->done = wake_sender;
    op->arg = &done;
    op->mail.deliver = deliver_op;
    if (loop_post(&p->c->loop, &op->mail)) {
        outgoing_fini(&op->out);
        sync_post(&done);
        sync_wait(&done);
        return error_set(err, HP_E_CLOSED, "the client is shut down");
    }
    sync_wait(&done);
    if (op->error.code) {
        if (err)
            *err = op->error;
        return op->error.code;
    }
    if (out)
        *out = op->result;
    return 0;
}

int producer_send_and_wait(struct hp_producer *p, const struct hp_message *m, bool transaction,
                           struct hp_send_result *out, struct hp_error *err)
{
    int rc = check_may_wait(p->c, err);
    if (rc)
        return rc;
    struct send_op op = {.attempts_left = p->attempts};
    struct build_opts build = p->build;
    build.borrow_body = true;
    build.transaction = transaction;
    rc = outgoing_build(&op.out, m, &build, err);
    return rc ? rc : post_and_wait(p, &op, out, err);
}

int hp_send(hp_producer *p, const hp_message *m, struct hp_send_result *out, struct hp_error *err)
{
    return producer_send_and_wait(p, m, false, out, err);
}

int hp_send_by_key(hp_producer *p, const hp_message *m, const char *key, struct hp_send_result *out,
                   struct hp_error *err)
{
    if (!key)
        return error_set(err, HP_E_INVALID, "key is NULL");
    int rc = check_may_wait(p->c, err);
    if (rc)
        return rc;
    struct send_op op = {
        .attempts_left = 1, .by_key = true, .key_hash = java_string_hash(slice_str(key))};
    struct build_opts build = p->build;
    build.borrow_body = true;
    rc = outgoing_build(&op.out, m, &build, err);
    return rc ? rc : post_and_wait(p, &op, out, err);
}

int hp_send_batch(hp_producer *p, const hp_message *const *msgs, size_t n,
                  struct hp_send_result *out, struct hp_error *err)
{
    int rc = check_may_wait(p->c, err);
    if (rc)
        return rc;
    struct send_op op = {.attempts_left = p->attempts};
    rc = outgoing_build_batch(&op.out, msgs, n, &p->build, err);
    return rc ? rc : post_and_wait(p, &op, out, err);
}

/* --- asynchronous, oneway --- */

struct async_send {
    struct send_op op;
    struct hp_producer *p;
    hp_send_done done; /* NULL: oneway */
    void *arg;
};

static void async_done(struct send_op *op)
{
    struct async_send *a = LIST_ENTRY(op, struct async_send, op);
    atomic_fetch_sub(&a->p->async_n, 1);
    if (a->done)
        a->done(a->arg, op->error.code ? NULL : &op->result, op->error.code ? &op->error : NULL);
    else if (op->error.code)
        CLIENT_LOG(a->p->c, HP_LOG_INFO, "oneway send: %s", op->error.text);
    free(a);
}

static int start_async(struct hp_producer *p, const hp_message *m, hp_send_done done, void *arg,
                       struct hp_error *err)
{
    if (atomic_fetch_add(&p->async_n, 1) >= p->async_max) {
        atomic_fetch_sub(&p->async_n, 1);
        return error_set(err, HP_E_BUSY, "%zu sends are in flight, the limit (async_max)",
                         p->async_max);
    }
    struct async_send *a = calloc(1, sizeof *a);
    int rc = a ? outgoing_build(&a->op.out, m, &p->build, err)
               : error_set(err, HP_E_NOMEM, "out of memory for a send");
    if (!rc) {
        a->p = p;
        a->done = done;
        a->arg = arg;
        a->op.s = &p->sender;
        a->op.oneway = done == NULL;
        a->op.attempts_left = done ? p->attempts : 1;
        a->op.deadline_ms = clock_mono(p->c->clock) + p->send_timeout_ms;
        a->op.done = async_done;
        a->op.mail.deliver = deliver_op;
        if (loop_post(&p->c->loop, &a->op.mail)) {
            outgoing_fini(&a->op.out);
            rc = error_set(err, HP_E_CLOSED, "the client is shut down");
        }
    }
    if (rc) {
        atomic_fetch_sub(&p->async_n, 1);
        free(a);
    }
    return rc;
}

int hp_send_async(hp_producer *p, const hp_message *m, hp_send_done done, void *arg,
                  struct hp_error *err)
{
    if (!done)
        return error_set(err, HP_E_INVALID, "done is NULL");
    return start_async(p, m, done, arg, err);
}

int hp_send_oneway(hp_producer *p, const hp_message *m, struct hp_error *err)
{
    return start_async(p, m, NULL, NULL, err);
}
