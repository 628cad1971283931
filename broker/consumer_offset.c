/* Consumer offsets over the wire: codes 14 and 15. Run on the network loop of the request.
 *
 * A group without an offset on a queue that still begins at 0 is told 0, never "not found": told
 * that, it would ask for the end of the queue and skip what arrived in between (RocketMQ 5.x does
 * so when nothing was written yet; 4.x answers 0).
 *
 * Source: ConsumerManageProcessor of 5.5.0, and of 4.9.7 for the case above. */
#include "broker/group.h"
#include "broker/handlers.h"
#include "broker/offset.h"
#include "broker/respcode.h"
#include "broker/topic.h"

void on_query_consumer_offset(struct req *r)
{
    struct hdr_query_consumer_offset h;
    if (req_header(r, &h) != 0)
        return;
    const struct broker *b = req_broker(r);
    struct hdr_offset_resp resp = {offsets_get(b->offsets, h.consumer_group, h.topic, h.queue_id)};
    if (resp.offset < 0) {
        int64_t min, max;
        store_queue_range(b->store, h.topic, h.queue_id, &min, &max);
        if (!h.set_zero_if_not_found || min > 0) {
            req_replyf(r, RESP_QUERY_NOT_FOUND, "Not found, maybe this group consumer boot first");
            return;
        }
        resp.offset = 0;
    }
    req_reply(r, RESP_SUCCESS, NULL, &resp);
}

static bool queue_exists(const struct broker *b, const struct hdr_update_consumer_offset *h,
                         const struct topic_info *t)
{
    int32_t queues = t->read_queue_nums > t->write_queue_nums ? t->read_queue_nums
                                                              : t->write_queue_nums;
    return h->queue_id >= 0 &&
           (h->queue_id < queues ||
            offsets_has_queue(b->offsets, h->consumer_group, h->topic, h->queue_id));
}

void on_update_consumer_offset(struct req *r)
{
    struct hdr_update_consumer_offset h;
    struct group_info g;
    struct topic_info t;
    struct err e;
    if (req_header(r, &h) != 0)
        return;
    struct broker *b = req_broker(r);
    int rc;
    if (!groups_get(b->groups, h.consumer_group, &g))
        req_replyf(r, RESP_SUBSCRIPTION_GROUP_NOT_EXIST, "Group " SLICE_FMT " not exist!",
                   SLICE_ARG(h.consumer_group));
    else if (!topics_get(b->topics, h.topic, &t))
        req_replyf(r, RESP_TOPIC_NOT_EXIST, "Topic " SLICE_FMT " not exist!", SLICE_ARG(h.topic));
    else if (!queue_exists(b, &h, &t))
        req_replyf(r, RESP_INVALID_PARAMETER,
                   "queueId[%d] is illegal, topic:[" SLICE_FMT "] has %d queues", h.queue_id,
                   SLICE_ARG(h.topic), t.read_queue_nums);
    else if ((rc = offsets_set(b->offsets, h.consumer_group, h.topic, h.queue_id, h.commit_offset,
                               &e)) != 0)
        req_replyf(r, respcode_of_err(rc), "%s", e.text);
    else
        req_reply(r, RESP_SUCCESS, NULL, NULL);
}
