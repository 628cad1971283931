/* Queue locks of orderly consumers (41, 42): which queues a client wants, which of them it got.
 *
 * Request of both: {"clientId":..,"consumerGroup":..,"mqSet":[{queue}..],"onlyThisBroker":false};
 * answer to 41: {"lockOKMQSet":[{queue}..]}; a queue is {"brokerName":..,"queueId":..,"topic":..}.
 *
 * Any thread. A decoded lock_body owns its tree and array; lock_ok_decode gives both to the caller
 * (json_decref, free). Slices borrow from the tree. Failure modes: E_PROTO (which member), E_NOMEM.
 * Source: LockBatchRequestBody, LockBatchResponseBody. */
#include <stdlib.h>

#include "proto/body_json.h"
#include "proto/text.h"

static const char what[] = "queue lock";

static int read_queues(const json_t *root, const char *key, struct mq_ref **queues, size_t *n,
                       struct err *e)
{
    const json_t *list;
    struct mq_ref *found = NULL;
    size_t i;
    json_t *j;
    int rc = body_get_array(root, key, what, &list, e);
    if (!rc)
        rc = body_alloc(json_array_size(list), sizeof *found, what, &found, e);
    if (rc)
        return rc;
    json_array_foreach(list, i, j) {
        if (!rc)
            rc = body_need_str(j, "topic", what, &found[i].topic, e);
        if (!rc)
            rc = body_need_str(j, "brokerName", what, &found[i].broker_name, e);
        if (!rc)
            rc = body_get_i32(j, "queueId", 0, what, &found[i].queue_id, e);
    }
    if (rc) {
        free(found);
        return rc;
    }
    *queues = found;
    *n = json_array_size(list);
    return 0;
}

int lock_body_decode(struct slice body, struct lock_body *out, struct err *e)
{
    struct lock_body b = {0};
    int rc = body_parse(body, what, &b.root, e);
    if (rc)
        return rc;
    rc = body_need_str(b.root, "consumerGroup", what, &b.group, e);
    if (!rc)
        rc = body_need_str(b.root, "clientId", what, &b.client_id, e);
    if (!rc)
        rc = read_queues(b.root, "mqSet", &b.queues, &b.queue_n, e);
    if (rc)
        lock_body_free(&b);
    else
        *out = b;
    return rc;
}

void lock_body_free(struct lock_body *b)
{
    free(b->queues);
    json_decref(b->root);
    *b = (struct lock_body){0};
}

static void queues_add(const struct mq_ref *queues, size_t n, struct buf *out)
{
    for (size_t i = 0; i < n; i++) {
        buf_str(out, i ? ",{\"brokerName\":" : "{\"brokerName\":");
        json_text_add(out, queues[i].broker_name);
        buf_printf(out, ",\"queueId\":%d,\"topic\":", queues[i].queue_id);
        json_text_add(out, queues[i].topic);
        buf_char(out, '}');
    }
}

int lock_body_encode(const struct lock_body *b, struct buf *out)
{
    buf_str(out, "{\"clientId\":");
    json_text_add(out, b->client_id);
    buf_str(out, ",\"consumerGroup\":");
    json_text_add(out, b->group);
    buf_str(out, ",\"mqSet\":[");
    queues_add(b->queues, b->queue_n, out);
    buf_str(out, "],\"onlyThisBroker\":false}");
    return buf_error(out);
}

int lock_ok_encode(const struct mq_ref *queues, size_t n, struct buf *out)
{
    buf_str(out, "{\"lockOKMQSet\":[");
    queues_add(queues, n, out);
    buf_str(out, "]}");
    return buf_error(out);
}

int lock_ok_decode(struct slice body, json_t **root, struct mq_ref **queues, size_t *n,
                   struct err *e)
{
    json_t *tree = NULL;
    int rc = body_parse(body, what, &tree, e);
    if (rc)
        return rc;
    rc = read_queues(tree, "lockOKMQSet", queues, n, e);
    if (rc)
        json_decref(tree);
    else
        *root = tree;
    return rc;
}
