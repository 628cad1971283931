/* The service loop.
 *
 * Runs on: the service loop, except service_submit (a network loop) and open/begin/end/close (the
 * thread that opens and closes the broker).
 *
 * A turn with jobs: mail delivers each job, its work() changes a table and the job is linked into
 * `jobs`. The turn hook then writes topics.json and subscriptionGroup.json if they changed (one
 * write for a burst of new topics), starts a registration round if topics changed, and posts the
 * jobs back; those that asked wait for the round.
 *
 * Failure: a file that cannot be written fails the jobs of the turn; the table keeps the change,
 * stays dirty, and the next persist tick tries again. Nothing is lost by that: topics whose
 * messages are in the store are restored at the next start. Jobs that are made for a reader go on all
 * the same: a consumer group that is new on a full disk can read. */
#include "broker/service.h"

#include <inttypes.h>

#include "base/log.h"
#include "broker/client_mgr.h"
#include "broker/delay.h"
#include "broker/group.h"
#include "broker/lock.h"
#include "broker/offset.h"
#include "broker/persist.h"
#include "broker/register.h"
#include "broker/topic.h"
#include "broker/tx.h"

enum { EXPIRE_PERIOD_MS = 10 * 1000, KEEP_PERIOD_MS = 1000, CLOCK_PERIOD_MS = 1000 };
enum { CLOCK_TOLERATED_MS = 1000 };

static void run_then(struct req *r)
{
    struct service_job *j = req_user(r);
    j->then(j);
}

static void release(struct list *jobs)
{
    struct list *it;
    while ((it = list_pop_front(jobs)) != NULL)
        req_post(LIST_ENTRY(it, struct service_job, link)->req, run_then);
}

static void on_registered(void *arg)
{
    struct service_job *j = arg;
    req_post(j->req, run_then);
}

static int write_tables(struct broker *b, struct err *e)
{
    int rc = persist_save_topics(b, e);
    if (rc == 0)
        rc = persist_save_groups(b, e);
    if (rc != 0)
        LOGE("config.write", "error=\"%s\"", e->text);
    return rc;
}

static void commit_jobs(struct broker *b)
{
    struct service *s = &b->service;
    if (list_empty(&s->jobs))
        return;
    struct err e;
    bool tell = topics_dirty(b->topics);
    int rc = write_tables(b, &e);
    struct list done;
    list_move_all(&s->jobs, &done);
    LIST_FOREACH_SAFE(it, next, &done) {
        struct service_job *j = LIST_ENTRY(it, struct service_job, link);
        if (j->rc == 0 && rc != 0 && !j->may_be_unsaved) {
            j->rc = rc;
            j->err = e;
        }
        if (j->wait_registered && j->rc == 0) {
            list_remove(it);
            registrar_round(b, on_registered, j);
            tell = false; /* this round does */
        }
    }
    if (tell)
        registrar_round(b, NULL, NULL);
    release(&done);
}

static void commit_turn(struct turn_hook *h)
{
    struct service *s = LIST_ENTRY(h, struct service, commit_hook);
    commit_jobs(LIST_ENTRY(s, struct broker, service));
}

static void deliver_job(struct mail *m)
{
    struct service_job *j = LIST_ENTRY(m, struct service_job, mail);
    struct broker *b = req_broker(j->req);
    j->work(b, j);
    list_push_back(&b->service.jobs, &j->link);
}

void service_submit(struct req *r, struct service_job *j)
{
    struct broker *b = req_broker(r);
    if (!j) {
        req_replyf(r, RESP_SYSTEM_ERROR, "the broker is out of memory");
        return;
    }
    j->req = r;
    j->mail.deliver = deliver_job;
    req_set_user(r, j);
    if (!b->stopping && loop_post(&b->service.loop, &j->mail) == 0)
        return;
    j->rc = err_set(&j->err, E_SHUTDOWN, "the broker is shutting down");
    j->then(j);
}

/* --- timers --- */

static void on_persist(uv_timer_t *t)
{
    struct broker *b = t->data;
    struct err e;
    if (topics_dirty(b->topics) || groups_dirty(b->groups)) {
        int rc = write_tables(b, &e); /* logged there; tried again at the next tick */
        (void)rc;
    }
    if (persist_save_offsets(b, &e) != 0)
        LOGE("config.write", "error=\"%s\"", e.text);
}

static void on_expire(uv_timer_t *t)
{
    struct broker *b = t->data;
    clients_expire(b->clients);
    locks_expire(b->locks);
}

struct start {
    struct broker *b;
    int rc;
    struct err *e;
};

static void rpc_start(void *arg)
{
    struct start *st = arg;
    struct service *s = &st->b->service;
    const struct rpc_opts opts = {
        .loop = &s->loop, .clock = st->b->clock, .language = LANGUAGE_CPP};
    st->rc = rpc_open(&s->rpc, &opts, st->e);
    if (st->rc != 0)
        return;
    list_init(&s->jobs);
    s->commit_hook = (struct turn_hook){.rank = 1, .fn = commit_turn};
    loop_hook_add(&s->loop, &s->commit_hook);
}

static void rpc_closed(void *arg)
{
    uv_sem_post(arg);
}

static void rpc_stop(void *arg)
{
    void **args = arg;
    struct broker *b = args[0];
    loop_hook_remove(&b->service.commit_hook);
    rpc_close(b->service.rpc, rpc_closed, args[1]);
}

int service_open(struct broker *b, struct err *e)
{
    struct service *s = &b->service;
    rng_seed(&s->rng, rng_seed_from_os());
    int rc = loop_start(&s->loop, "service", -1, e);
    if (rc != 0)
        return rc;
    struct start st = {b, 0, e};
    rc = loop_call(&s->loop, rpc_start, &st);
    if (rc == 0)
        rc = st.rc;
    if (rc != 0)
        loop_stop(&s->loop);
    return rc;
}

static void timer(struct broker *b, uv_timer_t *t, uv_timer_cb cb, int64_t period_ms)
{
    int rc = uv_timer_init(&b->service.loop.uv, t);
    t->data = b;
    rc = rc == 0 ? uv_timer_start(t, cb, (uint64_t)period_ms, (uint64_t)period_ms) : rc;
    MQ_ASSERT(rc == 0); /* fails only for bad arguments */
}

/* Tells retention what is still needed. Whatever becomes visible after the first line is not looked
 * at, hence needed. */
static void on_keep(uv_timer_t *t)
{
    struct broker *b = t->data;
    struct store_stats stats;
    store_stats_get(b->store, &stats);
    int64_t keep = stats.log_visible;
    const int64_t tx = tx_needed_from(b), delayed = delay_needed_from(b);
    keep = tx < keep ? tx : keep;
    store_keep_from(b->store, delayed < keep ? delayed : keep);
}

/* The broker's time approaches the system's; a difference that lasts is told once. */
static void on_clock(uv_timer_t *t)
{
    struct broker *b = t->data;
    const int64_t ahead = clock_steady_follow(&b->steady);
    const bool apart = ahead > CLOCK_TOLERATED_MS || ahead < -CLOCK_TOLERATED_MS;
    if (apart && !b->service.clock_apart)
        LOGW("clock.apart", "system_ahead_ms=%" PRId64 " effect=\"store times, delays and the age of files go on by "
             "the broker's own time, which approaches the system's slowly\" remedy=\"if the system's clock is right "
             "and ahead, restart the broker\"", ahead);
    else if (!apart && b->service.clock_apart)
        LOGI("clock.together", "system_ahead_ms=%" PRId64, ahead);
    b->service.clock_apart = apart;
}

static void begin(void *arg)
{
    struct start *st = arg;
    struct broker *b = st->b;
    timer(b, &b->service.persist_timer, on_persist, b->conf->flush_consumer_offset_interval);
    timer(b, &b->service.expire_timer, on_expire, EXPIRE_PERIOD_MS);
    timer(b, &b->service.keep_timer, on_keep, KEEP_PERIOD_MS);
    timer(b, &b->service.clock_timer, on_clock, CLOCK_PERIOD_MS);
    b->service.timed = true;
    st->rc = registrar_start(b, st->e);
}

int service_begin(struct broker *b, struct err *e)
{
    struct start st = {b, 0, e};
    int rc = loop_call(&b->service.loop, begin, &st);
    return rc != 0 ? rc : st.rc;
}

struct ending {
    struct broker *b;
    uv_sem_t said_goodbye;
};

static void goodbye(void *arg)
{
    struct ending *en = arg;
    uv_sem_post(&en->said_goodbye);
}

static void end(void *arg)
{
    struct ending *en = arg;
    struct service *s = &en->b->service;
    commit_jobs(en->b);
    if (s->timed) {
        uv_close((uv_handle_t *)&s->persist_timer, NULL);
        uv_close((uv_handle_t *)&s->expire_timer, NULL);
        uv_close((uv_handle_t *)&s->keep_timer, NULL);
        uv_close((uv_handle_t *)&s->clock_timer, NULL);
    }
    registrar_stop(en->b, goodbye, en);
}

void service_end(struct broker *b)
{
    struct ending en = {.b = b};
    int rc = uv_sem_init(&en.said_goodbye, 0);
    MQ_ASSERT(rc == 0);
    if (loop_call(&b->service.loop, end, &en) == 0)
        uv_sem_wait(&en.said_goodbye);
    uv_sem_destroy(&en.said_goodbye);
}

void service_close(struct broker *b)
{
    uv_sem_t closed;
    int rc = uv_sem_init(&closed, 0);
    MQ_ASSERT(rc == 0);
    void *args[2] = {b, &closed};
    if (loop_call(&b->service.loop, rpc_stop, args) == 0)
        uv_sem_wait(&closed);
    uv_sem_destroy(&closed);
    loop_stop(&b->service.loop);
}
