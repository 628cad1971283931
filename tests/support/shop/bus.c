/* The broker in memory.
 *
 * One list of messages, in the order they were sent; a delivery is a pair (message, group) that is tried
 * until it succeeds or is given up. bus_settle walks the list again and again, because a handler may send.
 */
#include "tests/support/shop/bus.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apps/common/dead_letters.h"

enum { MESSAGES_MAX = 1024, GROUPS_MAX = 16, LOSSES_MAX = 8, CLIENTS_MAX = 12, TRIES_MAX = 16 };
enum message_state { HALF, READY, DELAYED, ROLLED_BACK };

struct message {
    enum message_state state;
    char topic[128], tag[64], key[64], msg_id[32], txn_id[64], traceparent[64];
    char *body;
    size_t body_len;
    int replay;
    struct envelope v; /* event EVENT_none when the body is none */
    struct client *owner;
    struct {
        int tries;
        bool done;
    } group[GROUPS_MAX];
};
struct client {
    struct bus *bus;
    struct mq *mq;
};
struct bus {
    pthread_mutex_t lock; /* guards messages, n_messages and states */
    struct message *messages[MESSAGES_MAX];
    int n_messages;
    const struct inbox *groups[GROUPS_MAX];
    int n_groups;
    struct client clients[CLIENTS_MAX];
    int n_clients;
    struct {
        enum event ev;
        const char *group;
        int left;
    } losses[LOSSES_MAX];
    int n_losses, copies;
};

struct bus *bus_new(void)
{
    struct bus *b = calloc(1, sizeof *b);
    assert_non_null(b);
    pthread_mutex_init(&b->lock, NULL);
    b->copies = 1;
    return b;
}

void bus_free(struct bus *b)
{
    for (int i = 0; i < b->n_messages; i++) {
        free(b->messages[i]->body);
        free(b->messages[i]);
    }
    pthread_mutex_destroy(&b->lock);
    free(b);
}

/* ---- sending ---- */

static void copy(char *out, size_t size, const char *s)
{
    (void)snprintf(out, size, "%s", s ? s : "");
}

static int add(struct client *c, const struct mq_out *o, enum message_state state,
               struct app_error *e)
{
    struct bus *b = c->bus;
    struct message *m = calloc(1, sizeof *m);
    struct app_error unreadable;
    if (!m || !(m->body = malloc(o->body_len + 1)))
        fail_msg("no memory");
    memcpy(m->body, o->body, o->body_len);
    m->body_len = o->body_len;
    m->state = state;
    m->owner = c;
    m->replay = o->replay;
    copy(m->topic, sizeof m->topic, o->topic);
    copy(m->tag, sizeof m->tag, o->tag);
    copy(m->key, sizeof m->key, o->key);
    copy(m->txn_id, sizeof m->txn_id, o->txn_id);
    copy(m->traceparent, sizeof m->traceparent, o->traceparent);
    if (envelope_decode(o->body, o->body_len, &m->v, &unreadable) != APP_OK)
        m->v.event = EVENT_none;
    pthread_mutex_lock(&b->lock);
    if (b->n_messages == MESSAGES_MAX)
        fail_msg("more than %d messages: something goes in circles", MESSAGES_MAX);
    (void)snprintf(m->msg_id, sizeof m->msg_id, "BUS%d", b->n_messages);
    b->messages[b->n_messages++] = m;
    const int place = b->n_messages - 1;
    pthread_mutex_unlock(&b->lock);
    (void)e;
    return place;
}

static int port_send(void *arg, const struct mq_out *o, struct app_error *e)
{
    (void)add(arg, o, o->delay_level > 0 ? DELAYED : READY, e);
    return APP_OK;
}

static int port_half(void *arg, const struct mq_out *o, struct mq_half *half, struct app_error *e)
{
    (void)snprintf(half->id, sizeof half->id, "%d", add(arg, o, HALF, e));
    return APP_OK;
}

/* The first decision is final. */
static void decide(struct bus *b, int place, enum mq_verdict verdict)
{
    pthread_mutex_lock(&b->lock);
    if (b->messages[place]->state == HALF && verdict != MQ_UNKNOWN)
        b->messages[place]->state = verdict == MQ_COMMIT ? READY : ROLLED_BACK;
    pthread_mutex_unlock(&b->lock);
}

static int port_end(void *arg, const struct mq_half *half, enum mq_verdict verdict,
                    struct app_error *e)
{
    struct client *c = arg;
    (void)e;
    decide(c->bus, (int)strtol(half->id, NULL, 10), verdict);
    return APP_OK;
}

struct mq *bus_mq(struct bus *b, const char *name)
{
    assert_true(b->n_clients < CLIENTS_MAX);
    struct client *c = &b->clients[b->n_clients++];
    const struct mq_port port = {port_send, port_half, port_end, c};
    struct app_error e;
    c->bus = b;
    assert_app_ok(mq_open(&(struct mq_options){.name = name, .port = &port}, &c->mq, &e), &e);
    return c->mq;
}

void bus_subscribe(struct bus *b, const struct inbox *in)
{
    assert_true(b->n_groups < GROUPS_MAX);
    b->groups[b->n_groups++] = in;
}

/* ---- delivering ---- */

static bool wants(const struct inbox *in, const struct message *m)
{
    char retry[128];
    (void)snprintf(retry, sizeof retry, "%%RETRY%%%s", in->group);
    if (strcmp(m->topic, retry) == 0)
        return true;
    if (strcmp(m->topic, in->topic) != 0)
        return false;
    for (int i = 0; i < INBOX_HANDLERS_MAX && in->handlers[i].event != EVENT_none; i++)
        if (strcmp(event_tag(in->handlers[i].event), m->tag) == 0)
            return true;
    return false;
}

static bool is_lost(struct bus *b, const struct inbox *in, const struct message *m)
{
    for (int i = 0; i < b->n_losses; i++)
        if (b->losses[i].left > 0 && b->losses[i].ev == m->v.event &&
            strcmp(b->losses[i].group, in->group) == 0) {
            b->losses[i].left--;
            return true;
        }
    return false;
}

static void bury(const struct inbox *in, const struct message *m, int tries)
{
    const struct dead_letter l = {.group = in->group,
                                  .tag = m->tag,
                                  .key = m->key,
                                  .msg_id = m->msg_id,
                                  .body = m->body,
                                  .body_len = m->body_len,
                                  .reconsume_times = tries,
                                  .replays = m->replay};
    bool fresh;
    struct app_error e;
    assert_app_ok(dead_letter_keep(in->db, &l, &fresh, &e), &e);
}

/* One try of one delivery. */
static void deliver(struct bus *b, struct message *m, int g)
{
    const struct inbox *in = b->groups[g];
    const struct inbox_delivery d = {.tag = m->tag,
                                     .key = m->key,
                                     .msg_id = m->msg_id,
                                     .traceparent = m->traceparent[0] ? m->traceparent : NULL,
                                     .reconsume_times = m->group[g].tries,
                                     .body = m->body,
                                     .body_len = m->body_len};
    enum inbox_result r = INBOX_SUCCESS;
    m->group[g].tries++;
    if (is_lost(b, in, m)) {
        m->group[g].done = true;
        return;
    }
    for (int i = 0; i < b->copies && r == INBOX_SUCCESS; i++)
        r = inbox_handle(in, &d);
    const bool dead = r == INBOX_DEAD || (r == INBOX_LATER && m->group[g].tries == TRIES_MAX);
    if (dead)
        bury(in, m, m->group[g].tries - 1);
    m->group[g].done = dead || r == INBOX_SUCCESS;
}

int bus_settle(struct bus *b)
{
    int total = 0, moved;
    do {
        moved = 0;
        for (int i = 0; i < b->n_messages; i++) {
            struct message *m = b->messages[i];
            for (int g = 0; g < b->n_groups && m->state == READY; g++) {
                if (m->group[g].done || !wants(b->groups[g], m))
                    continue;
                deliver(b, m, g);
                moved++;
            }
        }
        total += moved;
    } while (moved > 0);
    return total;
}

int bus_check(struct bus *b)
{
    int undecided = 0;
    for (int i = 0; i < b->n_messages; i++) {
        const struct message *m = b->messages[i];
        if (m->state == HALF)
            decide(
                b, i,
                mq_check_now(m->owner->mq, m->body, m->body_len, m->txn_id[0] ? m->txn_id : NULL));
        undecided += m->state == HALF;
    }
    return undecided;
}

int bus_let_time_pass(struct bus *b)
{
    int n = 0;
    for (int i = 0; i < b->n_messages; i++)
        if (b->messages[i]->state == DELAYED) {
            b->messages[i]->state = READY;
            n++;
        }
    return n;
}

void bus_lose(struct bus *b, enum event ev, const char *group, int n)
{
    assert_true(b->n_losses < LOSSES_MAX);
    b->losses[b->n_losses].ev = ev;
    b->losses[b->n_losses].group = group;
    b->losses[b->n_losses++].left = n;
}

void bus_copies(struct bus *b, int n)
{
    b->copies = n;
}

struct envelope bus_last(struct bus *b, enum event ev)
{
    for (int i = b->n_messages; i-- > 0;)
        if (b->messages[i]->v.event == ev)
            return b->messages[i]->v;
    return (struct envelope){.event = EVENT_none};
}

int bus_sent(struct bus *b, enum event ev)
{
    int n = 0;
    for (int i = 0; i < b->n_messages; i++)
        n += b->messages[i]->v.event == ev && b->messages[i]->state != HALF &&
             b->messages[i]->state != ROLLED_BACK;
    return n;
}
