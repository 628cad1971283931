/* What brokers tell the name server: registration, farewell, signs of life.
 *
 * Owns: nothing. Runs on: the name server's loop; every handler answers at once.
 *
 * Source: DefaultRequestProcessor of 5.5.0 for codes and remarks. */
#include "base/crc.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "namesrv/namesrv_priv.h"

enum { BROKER_TIMEOUT_MS = 120000, VERSION_3_0_11 = 37 };

/* The connection speaks for a broker from here: its end is the broker's. */
static uint64_t speaks_for_broker(const struct req *r)
{
    struct conn *c = req_conn(r);
    conn_set_user(c, c);
    return conn_id(c);
}

/* --- 103 --- */

static bool crc_matches(const struct hdr_register_broker *h, struct slice body)
{
    return h->body_crc32 == 0 || (uint32_t)h->body_crc32 == crc32_body(body);
}

static struct registration registration_of(const struct req *r, const struct hdr_register_broker *h,
                                           const struct register_body *b)
{
    return (struct registration){
        .broker = {h->cluster_name, h->broker_name, h->broker_addr, h->broker_id, speaks_for_broker(r)},
        .ha_addr = h->ha_server_addr,
        .zone = h->zone_name,
        .timeout_ms = h->heartbeat_timeout_ms > 0 ? h->heartbeat_timeout_ms : BROKER_TIMEOUT_MS,
        .new_style = h->enable_acting_master.p != NULL,
        .enable_acting_master = slice_bool(h->enable_acting_master),
        .version = b->version,
        .topics = b->topics,
        .topic_n = b->topic_n,
    };
}

static void apply(struct req *r, const struct registration *reg)
{
    struct namesrv *n = namesrv_of(r);
    struct registered result;
    struct err e = {0};
    int rc = FAILPOINT(FP_NAMESRV_REGISTER);
    if (rc != 0)
        err_set(&e, rc, "injected failure");
    else
        rc = route_table_register(n->routes, reg, namesrv_now(n), &result, &e);
    if (rc != 0) {
        char name[160];
        LOGW("registration_refused", "peer=%s broker=%s error=\"%s\"", conn_peer_text(req_conn(r)),
             log_quote(reg->broker.name, name, sizeof name), e.text);
        req_reply(r, RESP_SYSTEM_ERROR, e.text, NULL);
        return;
    }
    if (result.first)
        namesrv_log_gone("broker_registered", &reg->broker);
    struct hdr_register_broker_resp resp = {result.master_ha_addr, result.master_addr};
    req_reply(r, RESP_SUCCESS, NULL, &resp);
}

void on_register_broker(struct req *r)
{
    struct hdr_register_broker h;
    if (req_header(r, &h) != 0)
        return;
    const struct command *c = req_command(r);
    if (!crc_matches(&h, c->body)) {
        req_reply(r, RESP_SYSTEM_ERROR, "crc32 not match", NULL);
        return;
    }
    struct register_body b = {0};
    struct err e;
    /* Brokers that old send no body: they register their address alone. */
    if (c->body.n > 0 && c->version >= VERSION_3_0_11 &&
        register_body_decode(c->body, h.compressed, c->version, &b, &e) != 0) {
        LOGW("bad_registration", "peer=%s error=\"%s\"", conn_peer_text(req_conn(r)), e.text);
        req_reply(r, RESP_SYSTEM_ERROR, e.text, NULL);
        return;
    }
    const struct registration reg = registration_of(r, &h, &b);
    apply(r, &reg);
    register_body_free(&b);
}

/* --- 104 --- */

void on_unregister_broker(struct req *r)
{
    struct hdr_unregister_broker h;
    if (req_header(r, &h) != 0)
        return;
    const struct broker_ref b = {h.cluster_name, h.broker_name, h.broker_addr, h.broker_id,
                                 conn_id(req_conn(r))};
    int rc = route_table_unregister(namesrv_of(r)->routes, &b);
    if (rc == 0)
        namesrv_log_gone("broker_unregistered", &b);
    else if (rc == E_DENIED)
        namesrv_log_gone("late_unregister_ignored", &b);
    req_reply(r, RESP_SUCCESS, NULL, NULL);
}

/* --- 322 --- */

static int version_body(struct data_version v, struct buf *out)
{
    buf_init(out, 0);
    json_t *j = data_version_to_json(v);
    int rc = j == NULL ? E_NOMEM : json_write(j, out);
    json_decref(j);
    return rc;
}

static struct data_version asked_version(struct slice body)
{
    json_t *j = NULL;
    struct data_version v = {-1, -1, -1}; /* equals nothing a broker registers */
    if (json_parse(body, &j, NULL) == 0)
        v = data_version_from_json(j);
    json_decref(j);
    return v;
}

void on_query_data_version(struct req *r)
{
    struct hdr_query_data_version h;
    if (req_header(r, &h) != 0)
        return;
    struct namesrv *n = namesrv_of(r);
    const struct broker_ref b = {h.cluster_name, h.broker_name, h.broker_addr, h.broker_id,
                                 speaks_for_broker(r)};
    struct data_version known;
    bool registered = route_table_version(n->routes, &b, &known);
    struct hdr_query_data_version_resp resp = {
        .changed = !registered || !data_version_eq(known, asked_version(req_command(r)->body))};
    if (!resp.changed)
        route_table_touch(n->routes, &b, 0, namesrv_now(n));
    struct buf body;
    int rc = registered ? version_body(known, &body) : 0;
    if (!registered) {
        req_reply(r, RESP_SUCCESS, NULL, &resp);
    } else if (rc == 0) {
        req_reply_buf(r, RESP_SUCCESS, NULL, &resp, &body);
    } else {
        buf_free(&body);
        req_reply(r, RESP_SYSTEM_ERROR, err_text(rc), NULL);
    }
}

/* --- 904 --- */

void on_broker_heartbeat(struct req *r)
{
    struct hdr_broker_heartbeat h;
    if (req_header(r, &h) != 0)
        return;
    struct namesrv *n = namesrv_of(r);
    const struct broker_ref b = {h.cluster_name, h.broker_name, h.broker_addr, h.broker_id,
                                 speaks_for_broker(r)};
    route_table_touch(n->routes, &b, 0, namesrv_now(n));
    req_reply(r, RESP_SUCCESS, NULL, NULL);
}
