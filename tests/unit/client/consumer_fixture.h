#pragma once
/* Consumers that count what they get. */
#include "tests/unit/client/client_fixture.h"

#include <stdatomic.h>
#include <stdio.h>

enum { TEXTS_MAX = 2048 };

struct collector {
    pthread_mutex_t lock;
    char texts[TEXTS_MAX][64]; /* "body@topic#reconsumeTimes" */
    int n;
    atomic_bool gate;          /* true: callbacks wait */
    atomic_int inside;         /* callbacks that have begun and not ended */
    enum hp_consume_result (*decide)(const char *body, int times);
};

static inline bool gate_open(void *arg) { return !atomic_load(&((struct collector *)arg)->gate); }

static inline enum hp_consume_result collect(void *arg, const hp_message_view *v)
{
    struct collector *c = arg;
    size_t n;
    const char *p = hp_view_body(v, &n);
    char body[48];
    snprintf(body, sizeof body, "%.*s", (int)n, p);
    atomic_fetch_add(&c->inside, 1);
    wait_until(gate_open, c, DEADLINE_MS);
    pthread_mutex_lock(&c->lock);
    if (c->n < TEXTS_MAX)
        snprintf(c->texts[c->n++], sizeof c->texts[0], "%s@%s#%d", body, hp_view_topic(v),
                 hp_view_reconsume_times(v));
    pthread_mutex_unlock(&c->lock);
    const enum hp_consume_result r = c->decide ? c->decide(body, hp_view_reconsume_times(v))
                                               : HP_CONSUME_SUCCESS;
    atomic_fetch_sub(&c->inside, 1);
    return r;
}

static inline struct collector *new_collector(void)
{
    struct collector *c = calloc(1, sizeof *c);
    assert_non_null(c);
    pthread_mutex_init(&c->lock, NULL);
    return c;
}

static inline void free_collector(struct collector *c)
{
    pthread_mutex_destroy(&c->lock);
    free(c);
}

static inline int collected(struct collector *c, const char *text)
{
    int n = 0;
    pthread_mutex_lock(&c->lock);
    for (int i = 0; i < c->n; i++)
        n += !text || strcmp(c->texts[i], text) == 0;
    pthread_mutex_unlock(&c->lock);
    return n;
}

struct has {
    struct collector *c;
    const char *text;
    int n;
};
static inline bool has_collected(void *arg)
{
    const struct has *h = arg;
    return collected(h->c, h->text) >= h->n;
}
static inline void await_collected(struct collector *c, const char *text, int n)
{
    if (!wait_until(has_collected, &(struct has){c, text, n}, DEADLINE_MS))
        fail_msg("%d of %d messages %s", collected(c, text), n, text ? text : "");
}

static inline bool is_inside(void *arg)
{
    const struct has *h = arg;
    return atomic_load(&h->c->inside) >= h->n;
}

static inline hp_consumer *new_consumer(hp_client *c, struct collector *to,
                                        struct hp_consumer_options o, const char *topic,
                                        const char *tags)
{
    hp_consumer *k = NULL;
    struct hp_error err = {0};
    o.group = o.group ? o.group : "CG";
    o.consume = collect;
    o.consume_arg = to;
    o.threads = o.threads ? o.threads : 4;
    o.offset_persist_ms = o.offset_persist_ms ? o.offset_persist_ms : 100;
    if (hp_consumer_new(c, &o, &k, &err) || hp_consumer_subscribe(k, topic, tags, &err) ||
        hp_consumer_start(k, &err))
        fail_msg("consumer: %s", err.text);
    return k;
}

struct at_offset {
    struct fake *f;
    int broker;
    const char *group, *topic;
    int queue;
    int64_t want;
};
static inline bool is_at_offset(void *arg)
{
    const struct at_offset *a = arg;
    return fake_offset(a->f, a->broker, a->group, a->topic, a->queue) == a->want;
}
static inline void await_offset(struct fake *f, const char *topic, int queue, int64_t want)
{
    struct at_offset a = {f, 0, "CG", topic, queue, want};
    if (!wait_until(is_at_offset, &a, DEADLINE_MS))
        fail_msg("offset of %s:%d is %lld, not %lld", topic, queue,
                 (long long)fake_offset(f, 0, "CG", topic, queue), (long long)want);
}

struct holds {
    hp_consumer *k;
    int n;
};
static inline bool holds_queues(void *arg)
{
    const struct holds *h = arg;
    struct hp_consumer_stats s;
    hp_consumer_stats(h->k, &s);
    return s.queues == h->n;
}
static inline void await_queues(hp_consumer *k, int n)
{
    struct hp_consumer_stats s;
    const bool ok = wait_until(holds_queues, &(struct holds){k, n}, DEADLINE_MS);
    hp_consumer_stats(k, &s);
    if (!ok)
        fail_msg("%d queues, not %d", s.queues, n);
}
