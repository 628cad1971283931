/* The push consumer's life.
 *
 *   new -> subscribe ... -> start -> running -> stop -> stopped -> free
 *
 * Start joins the instance: routes of its topics are kept fresh, heartbeats carry the group, the
 * first broker that has registered us triggers the first rebalance. Nothing there waits for the
 * network, so a consumer may start before its brokers do.
 *
 * Stop, in steps, each of them on the loop with the stopping thread waiting between them:
 *   1. no pulls, no rebalance, no new callbacks (messages that have not begun are simply not
 *      finished);
 *   2. wait for running callbacks and send-backs, at most timeout_ms;
 *   3. commit every queue's offset, give the queues up, wait for the answers (each has a deadline);
 *   4. leave the group (35), so that others take over at once.
 * A callback that outlives step 2 keeps its thread; its result is ignored, its message is delivered
 * again somewhere, and only hp_consumer_free waits for it.
 *
 * LIMIT: a callback that runs for more than 15 minutes is not sent back to the broker, as the Java
 * client does.
 *
 * Threads: public functions on application threads, `_on_loop` functions on the loop. */
#include "client/push_priv.h"

#include <stdlib.h>

#include "proto/names.h"

enum {
    THREADS = 20,
    THREADS_MAX = 1024,
    PULL_BATCH = 32,
    CACHED_MAX = 1000,
    CACHED_BYTES_MAX = 64 * 1024 * 1024,
    SUSPEND_MS = 15000,
    PERSIST_MS = 5000,
    REBALANCE_MS = 20000,
    STOP_TIMEOUT_MS = 10000,
    BATCH_MAX = 1024
};

bool consumer_running(const struct hp_consumer *k)
{
    return atomic_load(&k->state) == CONSUMER_RUNNING;
}

/* --- new --- */

static int check_numbers(const struct hp_consumer_options *o, struct hp_error *err)
{
    if (o->threads < 0 || o->threads > THREADS_MAX)
        return error_set(err, HP_E_INVALID, "threads = %d is not between 0 and %d", o->threads,
                         THREADS_MAX);
    if (o->from != HP_FROM_LAST && o->from != HP_FROM_FIRST && o->from != HP_FROM_TIMESTAMP)
        return error_set(err, HP_E_INVALID, "from = %d is none of hp_consume_from", (int)o->from);
    if (o->model != HP_CLUSTERING && o->model != HP_BROADCASTING)
        return error_set(err, HP_E_INVALID, "model = %d is none of hp_message_model",
                         (int)o->model);
    if (o->from == HP_FROM_TIMESTAMP && o->from_timestamp_ms < 0)
        return error_set(err, HP_E_INVALID, "from_timestamp_ms is negative");
    if (o->max_reconsume_times < 0 || o->pull_batch < 0 || o->pull_batch > BATCH_MAX ||
        o->cached_messages_max < 0)
        return error_set(
            err, HP_E_INVALID,
            "max_reconsume_times or cached_messages_max is negative, or pull_batch is not "
            "between 0 and %d",
            BATCH_MAX);
    if (o->suspend_ms < 0 || o->offset_persist_ms < 0 || o->rebalance_ms < 0)
        return error_set(err, HP_E_INVALID,
                         "suspend_ms, offset_persist_ms or rebalance_ms is negative");
    return 0;
}

static int check_options(const struct hp_consumer_options *o, struct hp_error *err)
{
    struct err e = {0};
    if (!o || !o->group || !*o->group)
        return error_set(err, HP_E_INVALID, "hp_consumer_options.group is mandatory");
    if (!o->consume)
        return error_set(err, HP_E_INVALID, "hp_consumer_options.consume is mandatory");
    if (group_name_check(slice_str(o->group), &e))
        return error_from(err, &e, E_INVAL, "hp_consumer_options.group");
    if (strcmp(o->group, "DEFAULT_CONSUMER") == 0)
        return error_set(err, HP_E_INVALID,
                         "group DEFAULT_CONSUMER is reserved, choose another name");
    return check_numbers(o, err);
}

static void complete_options(struct hp_consumer_options *o)
{
    if (!o->threads)
        o->threads = THREADS;
    if (!o->max_reconsume_times)
        o->max_reconsume_times = MAX_RECONSUME;
    if (!o->pull_batch)
        o->pull_batch = PULL_BATCH;
    if (!o->cached_messages_max)
        o->cached_messages_max = CACHED_MAX;
    if (!o->cached_bytes_max)
        o->cached_bytes_max = CACHED_BYTES_MAX;
    if (!o->suspend_ms)
        o->suspend_ms = SUSPEND_MS;
    if (!o->offset_persist_ms)
        o->offset_persist_ms = PERSIST_MS;
    if (!o->rebalance_ms)
        o->rebalance_ms = REBALANCE_MS;
}

static void consumer_destroy(struct hp_consumer *k)
{
    for (size_t i = 0; i < k->sub_n; i++) {
        subscription_fini(&k->subs[i]->sub);
        free(k->subs[i]);
    }
    free(k->subs);
    if (k->queues)
        map_free(k->queues, NULL);
    offsets_close(k);
    free((char *)(uintptr_t)k->o.local_offset_dir);
    free(k->retry_topic);
    free(k->group);
    free(k);
}

static int copy_strings(struct hp_consumer *k, const struct hp_consumer_options *o)
{
    struct buf b;
    buf_init(&b, 0);
    buf_printf(&b, "%s%s", RETRY_PREFIX, o->group);
    k->group = slice_dup(slice_str(o->group));
    k->retry_topic = buf_take(&b, NULL);
    k->o.local_offset_dir = o->local_offset_dir ? slice_dup(slice_str(o->local_offset_dir)) : NULL;
    k->queues = map_new();
    k->o.group = k->group;
    return k->group && k->retry_topic && k->queues &&
                   (k->o.local_offset_dir || !o->local_offset_dir)
               ? 0
               : HP_E_NOMEM;
}

int hp_consumer_new(hp_client *c, const struct hp_consumer_options *opts, hp_consumer **out,
                    struct hp_error *err)
{
    const int rc = check_options(opts, err);
    if (rc)
        return rc;
    struct hp_consumer *k = calloc(1, sizeof *k);
    if (!k)
        return error_set(err, HP_E_NOMEM, "out of memory for a consumer");
    k->c = c;
    k->o = *opts;
    if (copy_strings(k, opts)) {
        consumer_destroy(k);
        return error_set(err, HP_E_NOMEM, "out of memory for a consumer");
    }
    complete_options(&k->o);
    list_init(&k->link);
    list_init(&k->dropped);
    list_init(&k->calls);
    timer_init(&k->rebalance);
    timer_init(&k->persist);
    timer_init(&k->stop_timer);
    sender_init(&k->returns, c, "CLIENT_INNER_PRODUCER");
    *out = k;
    return 0;
}

/* --- subscribe --- */

static int add_sub(struct hp_consumer *k, const char *topic, const char *tags, struct hp_error *err)
{
    struct topic_sub **subs = realloc(k->subs, (k->sub_n + 1) * sizeof(struct topic_sub *));
    struct topic_sub *ts = calloc(1, sizeof *ts);
    if (subs)
        k->subs = subs;
    if (!subs || !ts) {
        free(ts);
        return error_set(err, HP_E_NOMEM, "out of memory for a subscription");
    }
    struct err e = {0};
    const int rc = subscription_init(&ts->sub, slice_str(topic), slice_str(tags ? tags : "*"),
                                     SLICE_LIT("TAG"), clock_wall(k->c->clock), &e);
    if (rc) {
        free(ts);
        return error_from(err, &e, rc == E_NOMEM ? rc : E_INVAL, "subscription");
    }
    ts->k = k;
    list_init(&ts->calls);
    k->subs[k->sub_n++] = ts;
    return 0;
}

static bool has_sub(const struct hp_consumer *k, const char *topic)
{
    for (size_t i = 0; i < k->sub_n; i++)
        if (strcmp(k->subs[i]->sub.topic, topic) == 0)
            return true;
    return false;
}

int hp_consumer_subscribe(hp_consumer *k, const char *topic, const char *tags, struct hp_error *err)
{
    struct err e = {0};
    if (atomic_load(&k->state) != CONSUMER_NEW)
        return error_set(err, HP_E_STATE, "subscribe before hp_consumer_start");
    if (!topic || topic_name_check(slice_str(topic), &e))
        return error_from(err, &e, E_INVAL, "topic");
    if (has_sub(k, topic))
        return error_set(err, HP_E_STATE, "topic %s is subscribed already", topic);
    return add_sub(k, topic, tags, err);
}

/* --- start --- */

struct join {
    struct hp_consumer *k;
    bool taken;
};

static void join_on_loop(void *arg)
{
    struct join *j = arg;
    struct hp_consumer *k = j->k;
    struct hp_client *c = k->c;
    LIST_FOREACH(l, &c->consumers)
        j->taken = j->taken ||
                   strcmp(LIST_ENTRY(l, struct hp_consumer, link)->group, k->group) == 0;
    if (j->taken)
        return;
    list_push_back(&c->consumers, &k->link);
    c->joined++;
    atomic_store(&k->state, CONSUMER_RUNNING);
    for (size_t i = 0; i < k->sub_n; i++) {
        struct route *r = route_of(c, slice_str(k->subs[i]->sub.topic));
        if (!r)
            continue;
        r->subscribers++;
        route_refresh(r);
    }
    heartbeats_groups_changed(c);
    offsets_start(k);
    rebalance_soon(k);
}

int hp_consumer_start(hp_consumer *k, struct hp_error *err)
{
    if (atomic_load(&k->state) != CONSUMER_NEW)
        return error_set(err, HP_E_STATE, "the consumer was started before");
    if (k->sub_n == 0)
        return error_set(err, HP_E_STATE, "nothing is subscribed");
    int rc = check_may_wait(k->c, err);
    if (!rc && !k->offset_file)
        rc = offsets_open(k, err);
    if (!rc && k->o.model == HP_CLUSTERING && !has_sub(k, k->retry_topic))
        rc = add_sub(k, k->retry_topic, "*", err);
    if (rc)
        return rc;
    struct err e = {0};
    struct join j = {k, false};
    if (pool_start(&k->pool, "hp-consume", k->o.threads, &e))
        return error_from(err, &e, e.code, "consume threads");
    rc = client_run(k->c, join_on_loop, &j, err);
    if (!rc && j.taken)
        rc = error_set(err, HP_E_STATE, "this client already has a consumer of group %s", k->group);
    if (rc) {
        pool_quit(&k->pool, NULL);
        pool_join(&k->pool);
        atomic_store(&k->state, CONSUMER_STOPPED);
        k->o.threads = 0; /* nothing to join */
    }
    return rc;
}

/* --- stop --- */

void consumer_maybe_idle(struct hp_consumer *k)
{
    const bool ready = (k->stop_wait == WAIT_MESSAGES && k->in_flight == 0) ||
                       (k->stop_wait == WAIT_COMMITS && k->commits == 0 && !k->file_writing);
    if (!ready)
        return;
    k->stop_wait = WAIT_NOTHING;
    timer_stop(&k->stop_timer);
    sync_post(k->step);
}

static void on_stop_timeout(struct timer *t)
{
    struct hp_consumer *k = LIST_ENTRY(t, struct hp_consumer, stop_timer);
    CLIENT_LOG(k->c, HP_LOG_WARN,
               "group %s stops with %zu messages unfinished; they are delivered again", k->group,
               k->in_flight);
    k->stop_wait = WAIT_NOTHING;
    sync_post(k->step);
}

struct stop {
    struct hp_consumer *k;
    int64_t timeout_ms;
    struct list left; /* jobs that never began */
    struct sync step;
};

static void stop_pulling_on_loop(void *arg)
{
    struct hp_consumer *k = arg;
    timer_stop(&k->persist);
    rebalance_close(k);
    struct map_iter it = {0};
    while (map_next(k->queues, &it)) {
        struct queue *q = it.value;
        timer_stop(&q->timer);
        calls_cancel(&q->calls);
    }
}

/* Messages that wait to be consumed again stay unfinished. */
static void forget_waiting(struct queue *q)
{
    LIST_FOREACH(l, &q->pq.entries)
    {
        struct delivery *d = LIST_ENTRY(l, struct delivery, entry.link);
        if (!timer_pending(&d->timer))
            continue;
        timer_stop(&d->timer);
        q->in_flight--;
        q->k->in_flight--;
    }
}

static void drain_on_loop(void *arg)
{
    struct stop *s = arg;
    struct hp_consumer *k = s->k;
    struct list *l;
    while ((l = list_pop_front(&s->left))) {
        struct queue *q = LIST_ENTRY(l, struct delivery, job.link)->q;
        q->in_flight--;
        k->in_flight--;
        if (q->dropped)
            queue_release(q);
    }
    struct map_iter it = {0};
    while (map_next(k->queues, &it))
        forget_waiting(it.value);
    k->step = &s->step;
    k->stop_wait = WAIT_MESSAGES;
    timer_start(&k->c->timers, &k->stop_timer, s->timeout_ms, on_stop_timeout);
    consumer_maybe_idle(k);
}

static void commit_on_loop(void *arg)
{
    struct stop *s = arg;
    struct hp_consumer *k = s->k;
    struct map_iter it = {0};
    while (map_next(k->queues, &it))
        queue_drop(it.value);
    offsets_save(k);
    k->step = &s->step;
    k->stop_wait = WAIT_COMMITS;
    consumer_maybe_idle(k);
}

static void left(void *arg) { sync_post(arg); }

static void leave_on_loop(void *arg)
{
    struct stop *s = arg;
    struct hp_consumer *k = s->k;
    list_remove(&k->link);
    for (size_t i = 0; i < k->sub_n; i++) {
        struct route *r = route_of(k->c, slice_str(k->subs[i]->sub.topic));
        if (r && r->subscribers > 0)
            r->subscribers--;
    }
    heartbeats_groups_changed(k->c);
    unregister_group(k->c, SLICE_NULL, slice_str(k->group), left, &s->step);
}

/* One step of the stop: runs fn on the loop, waits for its end. */
static void stop_step(struct stop *s, void (*fn)(void *arg))
{
    if (sync_init(&s->step, NULL) == 0 && client_run(s->k->c, fn, s, NULL) == 0)
        sync_wait(&s->step);
}

void hp_consumer_stop(hp_consumer *k, int64_t timeout_ms)
{
    int expected = CONSUMER_RUNNING;
    if (check_may_wait(k->c, NULL) ||
        !atomic_compare_exchange_strong(&k->state, &expected, CONSUMER_STOPPING))
        return;
    struct stop s = {.k = k, .timeout_ms = timeout_ms > 0 ? timeout_ms : 0};
    if (client_run(k->c, stop_pulling_on_loop, k, NULL))
        return;
    pool_quit(&k->pool, &s.left);
    stop_step(&s, drain_on_loop);
    stop_step(&s, commit_on_loop);
    stop_step(&s, leave_on_loop);
    atomic_store(&k->state, CONSUMER_STOPPED);
}

/* What a timed-out stop left behind. */
static void clear_on_loop(void *arg)
{
    struct hp_consumer *k = arg;
    sender_abort(&k->returns);
    calls_cancel(&k->calls);
    k->c->joined--;
    LIST_FOREACH_SAFE(l, next, &k->dropped)
    {
        struct queue *q = LIST_ENTRY(l, struct queue, link);
        q->in_flight = 0;
        queue_release(q);
    }
}

void hp_consumer_free(hp_consumer *k)
{
    if (!k)
        return;
    if (check_may_wait(k->c, NULL)) {
        CLIENT_LOG(k->c, HP_LOG_ERROR,
                   "hp_consumer_free called inside a callback of the loop: not freed");
        return;
    }
    hp_consumer_stop(k, STOP_TIMEOUT_MS);
    if (atomic_load(&k->state) == CONSUMER_STOPPED && k->o.threads) {
        pool_join(&k->pool);
        (void)(client_run(k->c, clear_on_loop, k, NULL) == 0);
    }
    consumer_destroy(k);
}

/* --- suspend, resume, stats --- */

static void suspend_on_loop(void *arg) { ((struct hp_consumer *)arg)->suspended = true; }

static void resume_on_loop(void *arg)
{
    struct hp_consumer *k = arg;
    k->suspended = false;
    struct map_iter it = {0};
    while (map_next(k->queues, &it))
        pull_next(it.value);
}

static void set_suspended(struct hp_consumer *k, bool suspended)
{
    if (!consumer_running(k))
        return;
    pool_pause(&k->pool, suspended);
    if (client_run(k->c, suspended ? suspend_on_loop : resume_on_loop, k, NULL))
        CLIENT_LOG(k->c, HP_LOG_ERROR,
                   "suspend or resume inside a callback of the loop has no effect on pulls");
}

void hp_consumer_suspend(hp_consumer *k) { set_suspended(k, true); }
void hp_consumer_resume(hp_consumer *k) { set_suspended(k, false); }

void hp_consumer_stats(hp_consumer *k, struct hp_consumer_stats *out)
{
    *out = (struct hp_consumer_stats){
        .queues = atomic_load(&k->queue_n),
        .cached = atomic_load(&k->cached),
        .consuming = consumer_running(k) ? (int64_t)pool_running(&k->pool) : 0,
        .consumed_ok = atomic_load(&k->ok),
        .consumed_later = atomic_load(&k->later),
        .consumed_dead = atomic_load(&k->dead),
        .pulls = atomic_load(&k->pulls),
    };
}
