/* Sharing queues, tags, broadcasting; and deliveries that are late on purpose: retries, dead
 * letters, delays. */
#include "tests/interop/client/kit.h"

/* --- consume --- */

static bool send_tagged(const char *check, const char *topic, const char *wave, int each)
{
    int at = 0;
    for (int i = 0; i < each; i++) {
        char body[48];
        for (const char *tag = "AB"; *tag; tag++) {
            snprintf(body, sizeof body, "%s-%d", wave, at++);
            if (!send_text(check, topic, *tag == 'A' ? "A" : "B", body, NULL))
                return false;
        }
        snprintf(body, sizeof body, "other-%d", i);
        if (!send_text(check, topic, "C", body, NULL))
            return false;
    }
    return true;
}

static bool await_shares(void)
{
    const int64_t deadline = now_ms() + 30000;
    while (now_ms() < deadline) {
        const int a = queues_of(0), b = queues_of(1);
        if (a >= 2 && b >= 2 && a + b == QUEUES + RETRY_QUEUES)
            return true;
        step();
    }
    return complain("consume-rebalance", "queues %d and %d", queues_of(0), queues_of(1));
}

void scenario_consume(void)
{
    const char *topic = create_topic("consume"), *group = name_of("consume-group");
    for (int i = 0; i < 2; i++)
        start_consumer(i, (struct hp_consumer_options){.group = group}, topic, "A || B", NULL);
    if (!await_shares())
        return;
    pass("consume-rebalance", "2 consumers, 2 queues each and the retry queue");

    if (!send_tagged("consume-tags", topic, "early", 40) ||
        !exactly("consume-tags", "early", 80, -1))
        return;
    if (!count("early", 0) || !count("early", 1) || count("other", -1)) {
        complain("consume-tags", "shares %d and %d, %d of another tag", count("early", 0),
                 count("early", 1), count("other", -1));
        return;
    }
    pass("consume-tags", "each of 80 once, shares %d and %d", count("early", 0), count("early", 1));

    hp_consumer_stop(consumers[1], 5000);
    if (!await_queues("consume-takeover", 0, QUEUES + RETRY_QUEUES) ||
        !send_tagged("consume-takeover", topic, "late", 20) ||
        !exactly("consume-takeover", "late", 40, 0))
        return;
    pass("consume-takeover", "each of 40 once after one consumer left");
}

void scenario_broadcast(void)
{
    const char *topic = create_topic("broadcast"), *group = name_of("broadcast-group");
    for (int i = 0; i < 2; i++)
        start_consumer(i, (struct hp_consumer_options){.group = group, .model = HP_BROADCASTING},
                       topic, "*", NULL);
    if (!await_queues("broadcast", 0, QUEUES) || !await_queues("broadcast", 1, QUEUES))
        return;
    for (int i = 0; i < 40; i++) {
        char body[32];
        snprintf(body, sizeof body, "broadcast-%d", i);
        if (!send_text("broadcast", topic, "A", body, NULL))
            return;
    }
    if (exactly("broadcast", "broadcast", 40, 0) && exactly("broadcast", "broadcast", 40, 1))
        pass("broadcast", "2 consumers, 40 messages each");
}

/* --- retry, dead letters, delay --- */

static enum hp_consume_result fail_once_or_twice(const struct received *r)
{
    return r->reconsume_times < (strcmp(r->body, "twice") == 0 ? 2 : 1) ? HP_RECONSUME_LATER
                                                                        : HP_CONSUME_SUCCESS;
}

void scenario_retry(void)
{
    const char *topic = create_topic("retry");
    if (!start_alone("retry-redelivered", "retry-group", topic, (struct hp_consumer_options){0},
                     fail_once_or_twice) ||
        !send_text("retry-redelivered", topic, "A", "once", NULL) ||
        !send_text("retry-redelivered", topic, "A", "twice", NULL))
        return;
    if (!await("once", 0, 2, LATE_MS)) {
        complain("retry-redelivered", "not delivered again");
        return;
    }
    const struct received *a = delivery("once", 0), *b = delivery("once", 1);
    if (b->reconsume_times != 1 || strcmp(b->topic, topic) != 0 || strcmp(a->id, b->id) != 0 ||
        strcmp(b->keys, "key-once") != 0 || a->born_ms != b->born_ms) {
        complain("retry-redelivered", "reconsumeTimes %d, topic %s, ids %s %s, keys %s",
                 b->reconsume_times, b->topic, a->id, b->id, b->keys);
        return;
    }
    pass("retry-redelivered", "again after %lld ms with reconsumeTimes 1",
         (long long)(b->at_ms - a->at_ms));
    if (!await("twice", 0, 3, LATE_MS) || delivery("twice", 2)->reconsume_times != 2 ||
        count("once", 0) != 2) {
        complain("retry-counts", "%d deliveries of twice, %d of once", count("twice", 0),
                 count("once", 0));
        return;
    }
    pass("retry-counts", "reconsumeTimes 2 at the third delivery");
}

static enum hp_consume_result refuse_bad(const struct received *r)
{
    if (strcmp(r->body, "direct") == 0)
        return HP_CONSUME_DEAD_LETTER;
    return strcmp(r->body, "good") == 0 ? HP_CONSUME_SUCCESS : HP_RECONSUME_LATER;
}

static int from_dlq(const char *body) { return count_exactly(body, 1); }

void scenario_dlq(void)
{
    const char *topic = create_topic("dlq");
    char dead_letters[200];
    snprintf(dead_letters, sizeof dead_letters, "%%DLQ%%%s", name_of("dlq-group"));
    if (!start_alone("dlq-direct", "dlq-group", topic,
                     (struct hp_consumer_options){.max_reconsume_times = 1}, refuse_bad) ||
        !send_text("dlq-direct", topic, "A", "poison", NULL) ||
        !send_text("dlq-direct", topic, "A", "good", NULL) ||
        !send_text("dlq-direct", topic, "A", "direct", NULL))
        return;
    start_consumer(1, (struct hp_consumer_options){.group = name_of("dlq-reader")}, dead_letters,
                   "*", NULL);
    const int64_t deadline = now_ms() + LATE_MS;
    while ((!from_dlq("direct") || !from_dlq("poison")) && now_ms() < deadline)
        step();
    if (from_dlq("direct") != 1 || count("direct", 0) != 1) {
        complain("dlq-direct", "%d dead letters, %d deliveries", from_dlq("direct"),
                 count("direct", 0));
        return;
    }
    pass("dlq-direct", "refused for good at the first delivery");
    if (from_dlq("poison") != 1 || count("poison", 0) != 2 || count("good", 0) != 1) {
        complain("dlq-exhausted", "%d dead letters, %d deliveries, good %d", from_dlq("poison"),
                 count("poison", 0), count("good", 0));
        return;
    }
    const struct received *r = delivery("poison", 2);
    if (strcmp(r->origin, topic) != 0 || strcmp(r->keys, "key-poison") != 0) {
        complain("dlq-exhausted", "RETRY_TOPIC %s, keys %s", r->origin, r->keys);
        return;
    }
    pass("dlq-exhausted", "after 2 deliveries");
}

void scenario_delay(void)
{
    const char *topic = create_topic("delay");
    if (!start_alone("delay-level-1", "delay-group", topic, (struct hp_consumer_options){0}, NULL))
        return;
    for (int level = 1; level <= 2; level++) {
        char check[32], body[32];
        struct hp_error err = {0};
        snprintf(check, sizeof check, "delay-level-%d", level);
        snprintf(body, sizeof body, "delayed-%d", level);
        hp_message *m = message(topic, "A", NULL, body);
        int rc = hp_message_set_delay_level(m, level);
        const int64_t sent_ms = now_ms();
        if (!rc)
            rc = hp_send(sender(), m, NULL, &err);
        hp_message_free(m);
        if (rc || !await(body, 0, 1, LATE_MS)) {
            complain(check, "%s", rc ? err.text : "not received");
            return;
        }
        const int64_t took = delivery(body, 0)->at_ms - sent_ms;
        if (took < level * 1000 - 10) {
            complain(check, "received after %lld ms", (long long)took);
            return;
        }
        pass(check, "received after %lld ms", (long long)took);
    }
}

