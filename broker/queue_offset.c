/* Queue offsets: codes 29, 30, 31, 32. Run on the network loop of the request.
 *
 * They always answer 0 with a number, also for topics and queues that do not exist: clients ask
 * before anything was sent. Those by time look at records, which may be on disk alone: a worker does.
 * Source: AdminBrokerProcessor of 5.5.0. */
#include "broker/cold.h"
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

struct lookup { /* in the request's arena */
    struct slice topic;
    int32_t queue_id;
    int64_t timestamp;
    enum store_boundary boundary;
    int64_t found;
};

static void lookup_run(struct req *r, const struct lookup *question, void (*work)(struct req *r),
                       void (*then)(struct req *r))
{
    struct lookup *l = req_alloc(r, sizeof *l);
    if (l) {
        *l = *question;
        if (!own_slice(r, &l->topic))
            return;
        if (l->topic.n == 0)
            l->topic = SLICE_LIT(""); /* an empty copy has no address */
        req_drop_input(r);
        req_set_user(r, l);
    }
    if (!l || cold_run(r, work, then) != 0)
        req_replyf(r, RESP_SYSTEM_ERROR, "the broker is out of memory");
}

static void search(struct req *r)
{
    struct lookup *l = req_user(r);
    l->found = store_offset_by_time(req_broker(r)->store, l->topic, l->queue_id, l->timestamp, l->boundary);
}

static void searched(struct req *r)
{
    const struct lookup *l = req_user(r);
    req_reply(r, RESP_SUCCESS, NULL, &(struct hdr_offset_resp){l->found});
}

void on_search_offset(struct req *r)
{
    struct hdr_search_offset h;
    if (req_header(r, &h) != 0)
        return;
    bool upper = slice_eq_nocase(h.boundary_type, SLICE_LIT("upper"));
    const struct lookup l = {.topic = h.topic, .queue_id = h.queue_id, .timestamp = h.timestamp,
                             .boundary = upper ? BOUNDARY_UPPER : BOUNDARY_LOWER};
    lookup_run(r, &l, search, searched);
}

static void find_earliest(struct req *r)
{
    struct lookup *l = req_user(r);
    struct store *st = req_broker(r)->store;
    int64_t min, max;
    store_queue_range(st, l->topic, l->queue_id, &min, &max);
    l->found = max > min ? store_time_of_offset(st, l->topic, l->queue_id, min) : -1;
}

static void found_earliest(struct req *r)
{
    const struct lookup *l = req_user(r);
    req_reply(r, RESP_SUCCESS, NULL, &(struct hdr_timestamp_resp){l->found});
}

void on_earliest_time(struct req *r)
{
    struct hdr_topic_queue h;
    if (req_header(r, &h) != 0)
        return;
    lookup_run(r, &(struct lookup){.topic = h.topic, .queue_id = h.queue_id}, find_earliest, found_earliest);
}
