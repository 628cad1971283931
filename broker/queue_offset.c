/* Queue offsets: codes 29, 30, 31, 32. Run on the network loop of the request.
 *
 * They always answer 0 with a number, also for topics and queues that do not exist: clients ask
 * before anything was sent. Source: AdminBrokerProcessor of 5.5.0. */
#include "broker/handlers.h"

static void answer_range(struct req *r, bool max_wanted)
{
    struct hdr_topic_queue h;
    if (req_header(r, &h) != 0)
        return;
    int64_t min, max;
    store_queue_range(req_broker(r)->store, h.topic, h.queue_id, &min, &max);
    const struct hdr_offset_resp resp = {max_wanted ? max : min};
    req_reply(r, RESP_SUCCESS, NULL, &resp);
}

void on_max_offset(struct req *r)
{
    answer_range(r, true);
}

void on_min_offset(struct req *r)
{
    answer_range(r, false);
}

void on_search_offset(struct req *r)
{
    struct hdr_search_offset h;
    if (req_header(r, &h) != 0)
        return;
    bool upper = slice_eq_nocase(h.boundary_type, SLICE_LIT("upper"));
    const struct hdr_offset_resp resp = {
        store_offset_by_time(req_broker(r)->store, h.topic, h.queue_id, h.timestamp,
                             upper ? BOUNDARY_UPPER : BOUNDARY_LOWER)};
    req_reply(r, RESP_SUCCESS, NULL, &resp);
}

void on_earliest_time(struct req *r)
{
    struct hdr_topic_queue h;
    if (req_header(r, &h) != 0)
        return;
    struct store *st = req_broker(r)->store;
    int64_t min, max;
    store_queue_range(st, h.topic, h.queue_id, &min, &max);
    const struct hdr_timestamp_resp resp = {
        max > min ? store_time_of_offset(st, h.topic, h.queue_id, min) : -1};
    req_reply(r, RESP_SUCCESS, NULL, &resp);
}
