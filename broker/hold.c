/* Long polling.
 *
 * Runs on: parking, waking and sweeping on the network loop of the request; hold_arrive on whatever
 * thread made messages visible (a submitting loop, the flusher).
 *
 *     pull finds nothing -> hold_park ----------------------------- spot(topic, queue, loop)
 *     message visible -> hold_arrive: notes its tag code there -- posts one mail to the loop
 *     mail -> drain_ready: wakes every parked pull that an arrived code passes
 *     timer -> hold_sweep: wakes what is overdue, and what messages of other tags have passed by for
 *     PASSED_OVER_MS: its answer moves the consumer's offset behind them
 *
 * One `lock` guards the table of watches and, in each, the per-loop lists and noted codes. Waking
 * itself runs outside the lock, on a local list. A wake re-executes the pull, which never parks
 * again.
 *
 * Nothing is missed: a pull parks first and looks at the queue once more afterwards; an arrival
 * looks at the table after its message became visible. One of the two sees the other.
 *
 * Bounds: parked pulls by `max`; noted codes per spot by CODES_MAX, beyond which everybody at the
 * spot is woken; watches by the queues that exist (a pull is admitted only for a queue of its
 * topic). An arrival without anybody waiting costs one atomic instruction per batch. */
#include "broker/hold.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/map.h"

/* PASSED_OVER_MS: PullRequestHoldService of 5.5.0 looks at every held pull that often. */
enum { CODES_MAX = 8, PASSED_OVER_MS = 5000, KEY_MAX = MESSAGE_TOPIC_LONG_MAX + 16 };

struct spot { /* one loop's share of a watch */
    struct list parked;     /* struct parked */
    struct list ready_link; /* in loop_side.ready while codes are noted */
    int64_t codes[CODES_MAX];
    int code_n;
    bool everybody;         /* more codes than fit */
    int64_t newest;         /* highest queue offset that arrived */
    bool ready;
};
struct watch {
    int loop_n;
    struct spot spots[]; /* loop_n of them */
};
struct loop_side {
    struct hold *hold;
    struct loop *loop;
    struct mail mail;
    bool posted;        /* under the lock */
    struct list ready;  /* under the lock: spots with noted codes */
    struct list due;    /* loop only: parked, in no order */
    bool closed;        /* loop only */
};
struct hold {
    uv_mutex_t lock;
    struct map *watches; /* "queue@topic" -> watch; under the lock */
    struct loop_side *sides;
    int loop_n;
    const struct clock *clock;
    size_t max;
    _Atomic size_t parked_n;
};

static void drain_ready(struct mail *m);

struct hold *hold_new(struct loop *const *loops, int loop_n, const struct clock *clock, size_t max,
                      struct err *e)
{
    struct hold *h = calloc(1, sizeof *h);
    if (!h || uv_mutex_init(&h->lock) != 0) {
        free(h);
        err_set(e, E_NOMEM, "long polling: out of memory");
        return NULL;
    }
    h->watches = map_new();
    h->sides = calloc((size_t)loop_n, sizeof *h->sides);
    h->loop_n = loop_n;
    h->clock = clock;
    h->max = max;
    if (!h->watches || !h->sides) {
        hold_free(h);
        err_set(e, E_NOMEM, "long polling: out of memory");
        return NULL;
    }
    for (int i = 0; i < loop_n; i++) {
        struct loop_side *s = &h->sides[i];
        s->hold = h;
        s->loop = loops[i];
        s->mail.deliver = drain_ready;
        list_init(&s->ready);
        list_init(&s->due);
    }
    return h;
}

void hold_free(struct hold *h)
{
    if (!h)
        return;
    MQ_ASSERT(atomic_load(&h->parked_n) == 0);
    if (h->watches)
        map_free(h->watches, free);
    free(h->sides);
    uv_mutex_destroy(&h->lock);
    free(h);
}

size_t hold_count(const struct hold *h)
{
    return atomic_load_explicit(&h->parked_n, memory_order_relaxed);
}

static struct slice make_key(char scratch[KEY_MAX], struct slice topic, int32_t queue_id)
{
    int n = snprintf(scratch, 16, "%d@", queue_id);
    if (topic.n > KEY_MAX - 16)
        return SLICE_NULL;
    memcpy(scratch + n, topic.p, topic.n);
    return slice_of(scratch, (size_t)n + topic.n);
}

static struct watch *watch_of(struct hold *h, struct slice key)
{
    struct watch *w = map_get(h->watches, key);
    if (w)
        return w;
    w = calloc(1, sizeof *w + (size_t)h->loop_n * sizeof w->spots[0]);
    if (!w || map_put(h->watches, key, w, NULL) != 0) {
        free(w);
        return NULL;
    }
    w->loop_n = h->loop_n;
    for (int i = 0; i < w->loop_n; i++) {
        list_init(&w->spots[i].parked);
        list_init(&w->spots[i].ready_link);
    }
    return w;
}

int hold_park(struct hold *h, struct parked *p, int loop_index)
{
    struct loop_side *side = &h->sides[loop_index];
    char scratch[KEY_MAX];
    struct slice key = make_key(scratch, p->topic, p->queue_id);
    if (side->closed || !key.p)
        return E_BUSY;
    if (atomic_fetch_add_explicit(&h->parked_n, 1, memory_order_seq_cst) >= h->max) {
        atomic_fetch_sub(&h->parked_n, 1);
        return E_BUSY;
    }
    uv_mutex_lock(&h->lock);
    struct watch *w = watch_of(h, key);
    if (w) {
        p->spot = &w->spots[loop_index];
        list_push_back(&p->spot->parked, &p->link);
    }
    uv_mutex_unlock(&h->lock);
    if (!w) {
        atomic_fetch_sub(&h->parked_n, 1);
        return E_BUSY;
    }
    list_push_back(&side->due, &p->due_link);
    return 0;
}

/* Under the lock. Links p into `woken` through its due_link. */
static void unpark(struct hold *h, struct parked *p, struct list *woken)
{
    list_remove(&p->link);
    list_remove(&p->due_link);
    list_push_back(woken, &p->due_link);
    atomic_fetch_sub_explicit(&h->parked_n, 1, memory_order_relaxed);
}

static void wake_all(struct list *woken)
{
    struct list *it;
    while ((it = list_pop_front(woken)) != NULL) {
        struct parked *p = LIST_ENTRY(it, struct parked, due_link);
        p->wake(p);
    }
}

void hold_wake_now(struct hold *h, struct parked *p)
{
    struct list woken;
    list_init(&woken);
    uv_mutex_lock(&h->lock);
    unpark(h, p, &woken);
    uv_mutex_unlock(&h->lock);
    wake_all(&woken);
}

static bool wanted(const struct parked *p, const struct spot *s)
{
    if (s->newest < p->offset)
        return false;
    if (s->everybody || !p->sub)
        return true;
    for (int i = 0; i < s->code_n; i++)
        if (subscription_match_code(&p->sub->s, s->codes[i]))
            return true;
    return false;
}

/* Loop thread. */
static void drain_ready(struct mail *m)
{
    struct loop_side *side = LIST_ENTRY(m, struct loop_side, mail);
    struct hold *h = side->hold;
    struct list woken;
    list_init(&woken);
    const int64_t passed_over = clock_mono(h->clock) + PASSED_OVER_MS;
    uv_mutex_lock(&h->lock);
    side->posted = false;
    struct list *it;
    while ((it = list_pop_front(&side->ready)) != NULL) {
        struct spot *s = LIST_ENTRY(it, struct spot, ready_link);
        LIST_FOREACH_SAFE(at, next, &s->parked) {
            struct parked *p = LIST_ENTRY(at, struct parked, link);
            if (wanted(p, s))
                unpark(h, p, &woken);
            else if (s->newest >= p->offset && p->deadline_ms > passed_over)
                p->deadline_ms = passed_over;
        }
        s->code_n = 0;
        s->everybody = s->ready = false;
    }
    uv_mutex_unlock(&h->lock);
    wake_all(&woken);
}

static void note(struct spot *s, const struct store_arrival *a)
{
    if (!s->ready || a->queue_offset > s->newest)
        s->newest = a->queue_offset;
    for (int i = 0; i < s->code_n; i++)
        if (s->codes[i] == a->tags_code)
            return;
    if (s->code_n < CODES_MAX)
        s->codes[s->code_n++] = a->tags_code;
    else
        s->everybody = true;
}

/* Under the lock. */
static void arrive_one(struct hold *h, const struct store_arrival *a)
{
    char scratch[KEY_MAX];
    struct slice key = make_key(scratch, a->topic, a->queue_id);
    struct watch *w = key.p ? map_get(h->watches, key) : NULL;
    for (int i = 0; w && i < w->loop_n; i++) {
        struct spot *s = &w->spots[i];
        if (list_empty(&s->parked))
            continue;
        note(s, a);
        if (!s->ready) {
            s->ready = true;
            list_push_back(&h->sides[i].ready, &s->ready_link);
        }
        struct loop_side *side = &h->sides[i];
        if (!side->posted && loop_post(side->loop, &side->mail) == 0)
            side->posted = true; /* refused only by a loop that is going away */
    }
}

void hold_arrive(struct hold *h, const struct store_arrival *list, size_t n)
{
    /* A read-modify-write, so that it is ordered after the publication of the messages, as the one
     * of hold_park is before its second look at the queue. */
    if (atomic_fetch_add_explicit(&h->parked_n, 0, memory_order_seq_cst) == 0)
        return;
    uv_mutex_lock(&h->lock);
    for (size_t i = 0; i < n; i++)
        arrive_one(h, &list[i]);
    uv_mutex_unlock(&h->lock);
}

/* Only the loop touches `due`, so the walk needs no lock; a peer that left is not waited for. */
static void wake_due(struct hold *h, struct loop_side *side, int64_t now)
{
    struct list overdue, woken;
    list_init(&overdue);
    list_init(&woken);
    LIST_FOREACH_SAFE(it, next, &side->due) {
        const struct parked *p = LIST_ENTRY(it, struct parked, due_link);
        if (p->deadline_ms > now && !(p->conn && conn_closing(p->conn)))
            continue;
        list_remove(it);
        list_push_back(&overdue, it);
    }
    if (list_empty(&overdue))
        return;
    uv_mutex_lock(&h->lock);
    LIST_FOREACH_SAFE(it, next, &overdue)
        unpark(h, LIST_ENTRY(it, struct parked, due_link), &woken);
    uv_mutex_unlock(&h->lock);
    wake_all(&woken);
}

void hold_sweep(struct hold *h, int loop_index)
{
    struct loop_side *side = &h->sides[loop_index];
    if (!list_empty(&side->due))
        wake_due(h, side, clock_mono(h->clock));
}

void hold_close_loop(struct hold *h, int loop_index)
{
    struct loop_side *side = &h->sides[loop_index];
    side->closed = true;
    wake_due(h, side, INT64_MAX);
}
