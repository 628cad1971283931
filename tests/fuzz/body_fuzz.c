/* JSON bodies (first byte: which decoder). What decodes is encoded, and that decodes again with the
 * same counts. */
#include <stdlib.h>

#include "proto/body.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void fuzz_register(struct slice body, bool compressed)
{
    struct register_body b, again;
    struct buf out;
    struct err e;
    if (register_body_decode(body, compressed, 513, &b, &e))
        return;
    buf_init(&out, 0);
    MQ_ASSERT(register_body_encode(b.topics, b.topic_n, b.version, &out) == 0);
    MQ_ASSERT(register_body_decode(buf_slice(&out), false, 513, &again, &e) == 0);
    MQ_ASSERT(again.topic_n == b.topic_n && data_version_eq(again.version, b.version));
    buf_free(&out);
    register_body_free(&again);
    register_body_free(&b);
}

static void fuzz_route(struct slice body, bool legacy)
{
    struct route_data r, again;
    struct buf out;
    struct err e;
    if (route_data_decode(body, &r, &e))
        return;
    buf_init(&out, 0);
    MQ_ASSERT(route_data_encode(&r, legacy, &out) == 0);
    MQ_ASSERT(route_data_decode(buf_slice(&out), &again, &e) == 0);
    MQ_ASSERT(again.broker_n == r.broker_n && again.queue_n == r.queue_n);
    buf_free(&out);
    route_data_free(&again);
    route_data_free(&r);
}

static void fuzz_heartbeat(struct slice body)
{
    struct heartbeat h, again;
    struct buf out;
    struct err e;
    if (heartbeat_decode(body, &h, &e))
        return;
    buf_init(&out, 0);
    const int rc = heartbeat_encode(&h, &out);
    /* E_INVAL: a subscription without a tag, an unknown expression type */
    MQ_ASSERT(rc == 0 || rc == E_INVAL);
    if (rc == 0) {
        MQ_ASSERT(heartbeat_decode(buf_slice(&out), &again, &e) == 0);
        MQ_ASSERT(again.consumer_n == h.consumer_n && again.producer_n == h.producer_n);
        heartbeat_free(&again);
    }
    buf_free(&out);
    heartbeat_free(&h);
}

static void fuzz_list(struct slice body)
{
    json_t *root;
    struct slice *ids;
    size_t n;
    struct buf out;
    struct err e;
    if (consumer_list_decode(body, &root, &ids, &n, &e))
        return;
    buf_init(&out, 0);
    MQ_ASSERT(consumer_list_encode(ids, n, &out) == 0);
    buf_free(&out);
    free(ids);
    json_decref(root);
}

static void fuzz_lock(struct slice body)
{
    struct lock_body l, again;
    struct buf out;
    struct err e;
    if (lock_body_decode(body, &l, &e))
        return;
    buf_init(&out, 0);
    MQ_ASSERT(lock_body_encode(&l, &out) == 0);
    MQ_ASSERT(lock_body_decode(buf_slice(&out), &again, &e) == 0 && again.queue_n == l.queue_n);
    buf_free(&out);
    lock_body_free(&again);
    lock_body_free(&l);
}

static void fuzz_lock_ok(struct slice body)
{
    json_t *root, *root_again;
    struct mq_ref *queues, *again;
    size_t n, again_n;
    struct buf out;
    struct err e;
    if (lock_ok_decode(body, &root, &queues, &n, &e))
        return;
    buf_init(&out, 0);
    MQ_ASSERT(lock_ok_encode(queues, n, &out) == 0);
    MQ_ASSERT(lock_ok_decode(buf_slice(&out), &root_again, &again, &again_n, &e) == 0 && again_n == n);
    buf_free(&out);
    free(again);
    json_decref(root_again);
    free(queues);
    json_decref(root);
}

static void fuzz_configs(struct slice body)
{
    json_t *root;
    struct topic_config t;
    struct group_config g;
    struct err e;
    if (json_parse(body, &root, &e))
        return;
    if (topic_config_from_json(root, &t, &e) == 0) {
        json_t *const again = topic_config_to_json(&t);
        MQ_ASSERT(again);
        json_decref(again);
    }
    if (group_config_from_json(root, &g, &e) == 0) {
        json_t *const again = group_config_to_json(&g);
        MQ_ASSERT(again);
        json_decref(again);
    }
    json_decref(root);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (!n)
        return 0;
    const struct slice body = slice_of((const char *)data + 1, n - 1);
    switch (data[0] % 9) {
    case 0: fuzz_register(body, false); break;
    case 1: fuzz_register(body, true); break;
    case 2: fuzz_route(body, false); break;
    case 3: fuzz_route(body, true); break;
    case 4: fuzz_heartbeat(body); break;
    case 5: fuzz_list(body); break;
    case 6: fuzz_lock(body); break;
    case 7: fuzz_configs(body); break;
    case 8: fuzz_lock_ok(body); break;
    }
    return 0;
}
