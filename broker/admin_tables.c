/* Creating and changing topics and groups: codes 17 and 200.
 *
 * Runs on: the request's loop for reading and answering, the service loop for the change.
 *
 * A topic is answered when topics.json is on disk and every name server was told (or could not be
 * reached): whoever asks for its route next finds it.
 *
 * Source: AdminBrokerProcessor.updateAndCreateTopic, updateAndCreateSubscriptionGroup of 5.5.0. */
#include "base/log.h"
#include "broker/group.h"
#include "broker/handlers.h"
#include "broker/respcode.h"
#include "broker/service.h"
#include "broker/topic.h"

struct topic_job {
    struct service_job job;
    struct topic_spec spec;
    json_t *attributes; /* owned; NULL: none given */
};
struct group_job {
    struct service_job job;
    json_t *doc; /* owned */
};

static void answer(struct service_job *j)
{
    if (j->rc == 0)
        req_reply(j->req, RESP_SUCCESS, NULL, NULL);
    else
        req_replyf(j->req, respcode_of_err(j->rc), "%s", j->err.text);
}

/* --- topics --- */

static void topic_done(struct service_job *sj)
{
    json_decref(LIST_ENTRY(sj, struct topic_job, job)->attributes);
    answer(sj);
}

static void put_topic(struct broker *b, struct service_job *sj)
{
    struct topic_job *j = LIST_ENTRY(sj, struct topic_job, job);
    j->spec.attributes = j->attributes;
    bool changed = false;
    sj->rc = topics_put(b->topics, &j->spec, b->clock, &changed, &sj->err);
    sj->wait_registered = changed;
    if (sj->rc == 0 && changed)
        LOGI("topic.changed", "topic=" SLICE_FMT " read=%d write=%d perm=%d",
             SLICE_ARG(j->spec.name), j->spec.info.read_queue_nums, j->spec.info.write_queue_nums,
             j->spec.info.perm);
}

/* "+key=value,-key": RocketMQ's form of attribute changes on the wire; plain "key=value" is taken
 * as an addition. Deletions are of no use on a whole replacement and skipped. */
static json_t *attributes_parse(struct slice text)
{
    json_t *out = json_object();
    struct slice rest = text, one, key;
    while (slice_cut(&rest, ',', &one)) {
        one = slice_trim(one);
        if (one.n > 0 && (one.p[0] == '+' || one.p[0] == '-')) {
            if (one.p[0] == '-')
                continue;
            one = slice_of(one.p + 1, one.n - 1);
        }
        if (slice_cut(&one, '=', &key) && key.n > 0 && one.n > 0 &&
            json_object_setn_new(out, key.p, key.n, json_stringn(one.p, one.n)) != 0)
            break;
    }
    return out;
}

static bool check_topic(struct req *r, const struct hdr_create_topic *h)
{
    const struct broker *b = req_broker(r);
    struct err e;
    if (topic_name_check(h->topic, &e) != 0) {
        req_replyf(r, RESP_INVALID_PARAMETER, "%s", e.text);
        return false;
    }
    if (b->conf->validate_system_topic && topic_is_system(h->topic)) {
        req_replyf(r, RESP_INVALID_PARAMETER,
                   "The topic[" SLICE_FMT "] is conflict with system topic.", SLICE_ARG(h->topic));
        return false;
    }
    return true;
}

void on_create_topic(struct req *r)
{
    struct hdr_create_topic h;
    if (req_header(r, &h) != 0 || !check_topic(r, &h))
        return;
    struct topic_job *j = req_alloc(r, sizeof *j);
    if (!j) {
        service_submit(r, NULL);
        return;
    }
    if (!own_slice(r, &h.topic))
        return;
    *j = (struct topic_job){
        .job = {.work = put_topic, .then = topic_done},
        .spec = {.name = h.topic,
                 .info = {h.read_queue_nums, h.write_queue_nums, h.perm, h.topic_sys_flag, h.order,
                          slice_eq_str(h.topic_filter_type, "MULTI_TAG")}},
        .attributes = h.attributes.n > 0 ? attributes_parse(h.attributes) : NULL,
    };
    req_drop_input(r);
    service_submit(r, &j->job);
}

/* --- groups --- */

static void group_done(struct service_job *sj)
{
    json_decref(LIST_ENTRY(sj, struct group_job, job)->doc);
    answer(sj);
}

static void put_group(struct broker *b, struct service_job *sj)
{
    struct group_job *j = LIST_ENTRY(sj, struct group_job, job);
    struct group_config c;
    sj->rc = group_config_from_json(j->doc, &c, &sj->err);
    if (sj->rc == 0)
        sj->rc = groups_put(b->groups, &c, b->clock, &sj->err);
    if (sj->rc == 0)
        LOGI("group.changed", "group=" SLICE_FMT " enable=%d retries=%d", SLICE_ARG(c.name),
             c.consume_enable, c.retry_max_times);
}

void on_create_group(struct req *r)
{
    struct group_job *j = req_alloc(r, sizeof *j);
    struct err e;
    if (!j) {
        service_submit(r, NULL);
        return;
    }
    *j = (struct group_job){.job = {.work = put_group, .then = group_done}};
    if (json_parse(req_command(r)->body, &j->doc, &e) != 0) {
        req_replyf(r, RESP_SYSTEM_ERROR, "group configuration: %s", e.text);
        return;
    }
    req_drop_input(r);
    service_submit(r, &j->job);
}
