/* Every way to send; each check reads back what it sent. And the probes: numbered messages from and
 * to every client, README.md fixes their form. */
#include "tests/interop/client/kit.h"

enum { PROBES = 100 };

/* --- send --- */

enum { COUNT = 20 };

static bool send_sync(const char *topic)
{
    bool used[QUEUES] = {false};
    struct hp_send_result res;
    for (int i = 0; i < COUNT; i++) {
        char body[32];
        snprintf(body, sizeof body, "sync-%d", i);
        if (!send_text("send-sync", topic, "A", body, &res))
            return false;
        if (res.status != HP_SEND_OK || res.queue_id < 0 || res.queue_id >= QUEUES)
            return complain("send-sync", "status %d, queue %d", (int)res.status, res.queue_id);
        used[res.queue_id] = true;
    }
    if (!used[0] || !used[1] || !used[2] || !used[3])
        return complain("send-sync", "not all queues were used");
    if (!exactly("send-sync", "sync", COUNT, 0))
        return false;
    char last[32];
    snprintf(last, sizeof last, "sync-%d", COUNT - 1);
    if (strcmp(delivery(last, 0)->id, res.msg_id) != 0)
        return complain("send-sync", "sent id %s, received id %s", res.msg_id,
                        delivery(last, 0)->id);
    pass("send-sync", "%d messages on %d queues", COUNT, QUEUES);
    return true;
}

static struct {
    int done, bad;
} async_result;

static void on_sent(void *arg, const struct hp_send_result *res, const struct hp_error *err)
{
    (void)arg;
    pthread_mutex_lock(&lock);
    async_result.done++;
    async_result.bad += err != NULL || res->status != HP_SEND_OK;
    pthread_mutex_unlock(&lock);
}

static bool send_many(const char *check, const char *kind, const char *topic, bool oneway)
{
    struct hp_error err = {0};
    for (int i = 0; i < COUNT; i++) {
        char body[32];
        snprintf(body, sizeof body, "%s-%d", kind, i);
        hp_message *m = message(topic, "A", NULL, body);
        const int rc = oneway ? hp_send_oneway(sender(), m, &err)
                              : hp_send_async(sender(), m, on_sent, NULL, &err);
        hp_message_free(m);
        if (rc)
            return complain(check, "%s", err.text);
    }
    if (!exactly(check, kind, COUNT, 0))
        return false;
    if (!oneway) {
        /* A consumer may have a message before its producer has the answer. */
        await_number(&async_result.done, COUNT, SOON_MS);
        const int done = number(&async_result.done), bad = number(&async_result.bad);
        if (done != COUNT || bad)
            return complain(check, "%d callbacks, %d with an error", done, bad);
    }
    pass(check, "%d messages", COUNT);
    return true;
}

static bool send_batch(const char *topic)
{
    hp_message *msgs[COUNT];
    struct hp_send_result res;
    struct hp_error err = {0};
    for (int i = 0; i < COUNT; i++) {
        char body[32], keys[32];
        snprintf(body, sizeof body, "batch-%d", i);
        snprintf(keys, sizeof keys, "K%d", i);
        msgs[i] = message(topic, "T", keys, body);
    }
    const int rc = hp_send_batch(sender(), (const hp_message *const *)msgs, COUNT, &res, &err);
    for (int i = 0; i < COUNT; i++)
        hp_message_free(msgs[i]);
    if (rc)
        return complain("send-batch", "%s", err.text);
    if (!exactly("send-batch", "batch", COUNT, 0))
        return false;
    const struct received *r = delivery("batch-7", 0);
    if (strcmp(r->tag, "T") != 0 || strcmp(r->keys, "K7") != 0 || r->queue_id != res.queue_id)
        return complain("send-batch", "tag %s, keys %s, queue %d", r->tag, r->keys, r->queue_id);
    pass("send-batch", "%d messages in one request", COUNT);
    return true;
}

static bool send_properties(const char *topic)
{
    struct hp_error err = {0};
    hp_message *m = message(topic, "TagA", "k1 k2", "properties");
    int rc = hp_message_set_property(m, "colour", "gr\xc3\xbcn");
    if (!rc)
        rc = hp_send(sender(), m, NULL, &err);
    hp_message_free(m);
    if (rc)
        return complain("send-keys-tag", "%s", err.text);
    if (!await("properties", 0, 1, SOON_MS))
        return complain("send-keys-tag", "not received");
    const struct received *r = delivery("properties", 0);
    if (strcmp(r->tag, "TagA") != 0 || strcmp(r->keys, "k1 k2") != 0 ||
        strcmp(r->property, "gr\xc3\xbcn") != 0)
        return complain("send-keys-tag", "tag %s, keys %s, property %s", r->tag, r->keys,
                        r->property);
    pass("send-keys-tag", "tag, two keys, a property");
    return true;
}

static bool send_compressed(const char *topic)
{
    char body[BODY_MAX - 1];
    memset(body, 'z', sizeof body);
    body[sizeof body - 1] = '\0';
    if (!send_text("send-compressed", topic, "A", body, NULL))
        return false;
    if (!await(body, 0, 1, SOON_MS))
        return complain("send-compressed", "not received");
    pass("send-compressed", "%zu bytes", sizeof body - 1);
    return true;
}

static bool send_key(const char *topic)
{
    struct hp_error err = {0};
    struct hp_send_result res;
    int queue = -1;
    for (int i = 0; i < 4; i++) {
        hp_message *m = message(topic, "A", NULL, "keyed");
        const int rc = hp_send_by_key(sender(), m, "order-17", &res, &err);
        hp_message_free(m);
        if (rc)
            return complain("send-queue", "%s", err.text);
        if (queue >= 0 && queue != res.queue_id)
            return complain("send-queue", "queues %d and %d for one key", queue, res.queue_id);
        queue = res.queue_id;
    }
    pass("send-queue", "one key, always queue %d", queue);
    return true;
}

void scenario_send(void)
{
    const char *topic = name_of("send");
    if (!send_text("send-autocreate", topic, "A", "first", NULL))
        return;
    if (!start_alone("send-autocreate", "send-group", topic, (struct hp_consumer_options){0}, NULL))
        return;
    pass("send-autocreate", "%d queues", QUEUES);
    if (send_sync(topic) && send_many("send-async", "async", topic, false) &&
        send_many("send-oneway", "oneway", topic, true) && send_batch(topic) &&
        send_properties(topic) && send_compressed(topic))
        send_key(topic);
}

/* --- probes --- */

static void probe_body(int i, char out[BODY_MAX])
{
    const int n = snprintf(out, BODY_MAX, "probe-%06d%s", i, i % 10 == 0 ? ":" : "");
    if (i % 10 == 0) {
        memset(out + n, 'x', 6000);
        out[n + 6000] = '\0';
    }
}

void scenario_probe_produce(void)
{
    const char *topic = create_topic("probe");
    struct hp_error err = {0};
    for (int i = 0; i < PROBES; i++) {
        char body[BODY_MAX], keys[32];
        probe_body(i, body);
        snprintf(keys, sizeof keys, "key-%06d", i);
        hp_message *m = message(topic, "probe", keys, body);
        const int rc = hp_send(sender(), m, NULL, &err);
        hp_message_free(m);
        if (rc) {
            complain("probe-produce", "message %d: %s", i, err.text);
            return;
        }
    }
    pass("probe-produce", "%d messages", PROBES);
}

void scenario_probe_consume(void)
{
    const char *topic = name_of("probe");
    bool found[PROBES] = {false};
    start_consumer(0, (struct hp_consumer_options){.group = name_of("probe-group")}, topic, "probe",
                   NULL);
    int distinct = 0;
    const int64_t deadline = now_ms() + LATE_MS;
    while (distinct < PROBES && now_ms() < deadline) {
        step();
        for (int i = 0; i < PROBES; i++) {
            char body[BODY_MAX], keys[32];
            probe_body(i, body);
            snprintf(keys, sizeof keys, "key-%06d", i);
            const struct received *r = found[i] ? NULL : delivery(body, 0);
            if (r && strcmp(r->keys, keys) == 0 && strcmp(r->tag, "probe") == 0) {
                found[i] = true;
                distinct++;
            }
        }
    }
    for (int i = 0; i < PROBES; i++)
        if (found[i])
            printf("DATA %06d\n", i);
    if (distinct == PROBES)
        pass("probe-consume", "%d deliveries", count("probe-", 0));
    else
        complain("probe-consume", "%d of %d messages", distinct, PROBES);
}

