/* The kit of the interop client: report, received messages, clients.
 *
 * The library has no plain pull, so what was sent is read back by consumers. Everything received
 * lands in one table under a lock: consumers append from their worker threads, checks poll with a
 * deadline. The table is never shrunk, so a pointer into it stays good. */
#include "tests/interop/client/kit.h"

#include <stdarg.h>
#include <time.h>

enum { RECEIVED_MAX = 4096 };

const char *namesrv, *prefix;
int passed, failed;

/* --- report --- */

__attribute__((format(printf, 3, 0)))
static void verdict(bool good, const char *name, const char *fmt, va_list ap)
{
    printf("%s %s ", good ? "PASS" : "FAIL", name);
    vprintf(fmt, ap);
    printf("\n");
    fflush(stdout);
    *(good ? &passed : &failed) += 1;
}

void pass(const char *name, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    verdict(true, name, fmt, ap);
    va_end(ap);
}

bool complain(const char *name, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    verdict(false, name, fmt, ap);
    va_end(ap);
    return false;
}

int64_t now_ms(void)
{
    struct timespec ts;
    timespec_get(&ts, TIME_UTC);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

void step(void)
{
    const struct timespec ts = {0, 10000000};
    nanosleep(&ts, NULL);
}

char *name_of(const char *suffix)
{
    static char names[16][160];
    static int next;
    char *name = names[next++ % 16];
    snprintf(name, 160, "%s-%s", prefix, suffix);
    return name;
}

/* --- what came --- */

pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct received got[RECEIVED_MAX];
static int got_n;

static void copy(char *dst, size_t cap, const char *text)
{
    snprintf(dst, cap, "%s", text ? text : "");
}

static void record(int consumer, const hp_message_view *v)
{
    pthread_mutex_lock(&lock);
    if (got_n < RECEIVED_MAX) {
        struct received *r = &got[got_n];
        const void *body = hp_view_body(v, &r->body_n);
        r->body = strndup(body, r->body_n);
        copy(r->topic, sizeof r->topic, hp_view_topic(v));
        copy(r->tag, sizeof r->tag, hp_view_tag(v));
        copy(r->keys, sizeof r->keys, hp_view_keys(v));
        copy(r->id, sizeof r->id, hp_view_msg_id(v));
        copy(r->property, sizeof r->property, hp_view_property(v, "colour"));
        copy(r->origin, sizeof r->origin, hp_view_property(v, "RETRY_TOPIC"));
        r->queue_id = hp_view_queue_id(v);
        r->reconsume_times = hp_view_reconsume_times(v);
        r->born_ms = hp_view_born_timestamp(v);
        r->consumer = consumer;
        r->at_ms = now_ms();
        got_n++;
    }
    pthread_mutex_unlock(&lock);
}

int count(const char *start, int consumer)
{
    int n = 0;
    pthread_mutex_lock(&lock);
    for (int i = 0; i < got_n; i++)
        n += (consumer < 0 || got[i].consumer == consumer) &&
             strncmp(got[i].body, start, strlen(start)) == 0;
    pthread_mutex_unlock(&lock);
    return n;
}

bool await(const char *start, int consumer, int n, int64_t ms)
{
    const int64_t deadline = now_ms() + ms;
    while (count(start, consumer) < n && now_ms() < deadline)
        step();
    return count(start, consumer) >= n;
}

int number(const int *counted)
{
    pthread_mutex_lock(&lock);
    const int n = *counted;
    pthread_mutex_unlock(&lock);
    return n;
}

bool await_number(const int *counted, int n, int64_t ms)
{
    const int64_t deadline = now_ms() + ms;
    while (number(counted) < n && now_ms() < deadline)
        step();
    return number(counted) >= n;
}

int count_exactly(const char *body, int consumer)
{
    int n = 0;
    pthread_mutex_lock(&lock);
    for (int i = 0; i < got_n; i++)
        n += (consumer < 0 || got[i].consumer == consumer) && strcmp(got[i].body, body) == 0;
    pthread_mutex_unlock(&lock);
    return n;
}

int received_n(void)
{
    pthread_mutex_lock(&lock);
    const int n = got_n;
    pthread_mutex_unlock(&lock);
    return n;
}

const struct received *delivery(const char *body, int nth)
{
    const struct received *found = NULL;
    pthread_mutex_lock(&lock);
    for (int i = 0; i < got_n && !found; i++)
        if (strcmp(got[i].body, body) == 0 && nth-- == 0)
            found = &got[i];
    pthread_mutex_unlock(&lock);
    return found;
}

/* --- clients --- */

static hp_client *clients[CLIENTS_MAX];
static hp_producer *producer;
hp_consumer *consumers[CLIENTS_MAX];
hp_producer *tx_producer;

void die(const char *what, const struct hp_error *err)
{
    complain(what, "%s: %s", hp_strerror(err->code), err->text);
    exit(1);
}

hp_client *client(int i)
{
    if (!clients[i]) {
        struct hp_error err = {0};
        char instance[160];
        snprintf(instance, sizeof instance, "%s-i%d", prefix, i);
        const struct hp_client_options o = {.namesrv_addr = namesrv, .instance_name = instance,
                                            .route_refresh_ms = 1000, .request_timeout_ms = 10000};
        if (hp_client_new(&o, &clients[i], &err))
            die("client", &err);
    }
    return clients[i];
}

hp_producer *sender(void)
{
    if (!producer) {
        struct hp_error err = {0};
        const struct hp_producer_options o = {
            .group = name_of("producer"), .send_timeout_ms = 10000, .retry_times = -1};
        if (hp_producer_new(client(0), &o, &producer, &err))
            die("producer", &err);
    }
    return producer;
}

const char *create_topic(const char *suffix)
{
    struct hp_error err = {0};
    const char *topic = name_of(suffix);
    if (hp_create_topic(client(0), "DefaultCluster", topic, QUEUES, 20000, &err))
        die("topic", &err);
    return topic;
}

hp_message *message(const char *topic, const char *tag, const char *keys, const char *body)
{
    hp_message *m = hp_message_new(topic, body, strlen(body));
    if (!m || hp_message_set_tag(m, tag) || (keys && hp_message_set_keys(m, keys)))
        abort();
    return m;
}

bool send_text(const char *check, const char *topic, const char *tag, const char *body,
                      struct hp_send_result *res)
{
    struct hp_error err = {0};
    struct hp_send_result ignored;
    char keys[64];
    snprintf(keys, sizeof keys, "key-%.40s", body);
    hp_message *m = message(topic, tag, keys, body);
    const int rc = hp_send(sender(), m, res ? res : &ignored, &err);
    hp_message_free(m);
    return rc == 0 || complain(check, "send of %s: %s: %s", body, hp_strerror(rc), err.text);
}

struct listener {
    int index;
    decide_fn decide;
};
static struct listener listeners[CLIENTS_MAX];

static enum hp_consume_result on_message(void *arg, const hp_message_view *v)
{
    const struct listener *l = arg;
    struct received r = {.reconsume_times = hp_view_reconsume_times(v)};
    char body[BODY_MAX];
    size_t n;
    const void *p = hp_view_body(v, &n);
    snprintf(body, sizeof body, "%.*s", (int)n, (const char *)p);
    r.body = body;
    record(l->index, v);
    return l->decide ? l->decide(&r) : HP_CONSUME_SUCCESS;
}

void start_consumer(int i, struct hp_consumer_options o, const char *topic, const char *tags,
                    decide_fn decide)
{
    struct hp_error err = {0};
    listeners[i] = (struct listener){i, decide};
    o.consume = on_message;
    o.consume_arg = &listeners[i];
    o.threads = 4;
    o.from = HP_FROM_FIRST;
    o.rebalance_ms = 1000;
    if (hp_consumer_new(client(i), &o, &consumers[i], &err) ||
        hp_consumer_subscribe(consumers[i], topic, tags, &err) ||
        hp_consumer_start(consumers[i], &err))
        die("consumer", &err);
}

int queues_of(int i)
{
    struct hp_consumer_stats s;
    hp_consumer_stats(consumers[i], &s);
    return s.queues;
}

bool await_queues(const char *check, int i, int n)
{
    const int64_t deadline = now_ms() + 30000;
    while (queues_of(i) != n && now_ms() < deadline)
        step();
    return queues_of(i) == n ||
           complain(check, "consumer %d has %d queues, not %d", i, queues_of(i), n);
}

bool start_alone(const char *check, const char *group, const char *topic,
                 struct hp_consumer_options o, decide_fn decide)
{
    o.group = name_of(group);
    start_consumer(0, o, topic, "*", decide);
    return await_queues(check, 0, QUEUES + RETRY_QUEUES);
}

bool exactly(const char *check, const char *kind, int n, int consumer)
{
    char body[64];
    snprintf(body, sizeof body, "%s-", kind);
    if (!await(body, consumer, n, LATE_MS))
        return complain(check, "%d of %d messages %s", count(body, consumer), n, kind);
    for (int i = 0; i < n; i++) {
        snprintf(body, sizeof body, "%s-%d", kind, i);
        const int times = count_exactly(body, consumer);
        if (times != 1)
            return complain(check, "%s received %d times", body, times);
    }
    return true;
}

void close_all(void)
{
    for (int i = CLIENTS_MAX - 1; i >= 0; i--)
        hp_consumer_free(consumers[i]);
    hp_producer_free(tx_producer);
    hp_producer_free(producer);
    for (int i = CLIENTS_MAX - 1; i >= 0; i--)
        hp_client_free(clients[i]);
    for (int i = 0; i < got_n; i++)
        free(got[i].body);
}

