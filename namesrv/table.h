#pragma once
/* The route table: which brokers live, and which topics each of them serves. Memory only, no sockets,
 * no clock: the caller passes the time. Not thread-safe. */
#include "proto/body.h"

struct route_table; /* opaque */

enum { ROUTE_BROKERS_MAX = 16384, ROUTE_QUEUES_MAX = 4 * 1024 * 1024 };

struct route_table *route_table_new(bool delete_missing_topics); /* NULL when memory is out */
void route_table_free(struct route_table *t);

/* Who a request speaks for. */
struct broker_ref {
    struct slice cluster, name, addr;
    int64_t id;       /* 0: master */
    uint64_t conn_id; /* of the connection it came on; later connections have larger ids */
};
struct registration {
    struct broker_ref broker;
    struct slice ha_addr, zone;
    int64_t timeout_ms;
    bool new_style; /* the broker said whether it wants an acting master (5.x) */
    bool enable_acting_master;
    struct data_version version;
    const struct topic_config *topics;
    size_t topic_n;
};
struct registered { /* what a slave is told; null when unknown; borrowed until the table changes */
    struct slice master_addr, master_ha_addr;
    bool first; /* the broker was not known before */
};
/* E_DENIED: an unknown broker that names exactly one topic (an increment that overtook the first full
 * registration). E_INVAL: an empty name. E_BUSY: the table's bounds. E_NOMEM. A registration that is older than what is known
 * is ignored and succeeds.
 * Source: RouteInfoManager.registerBroker of 5.5.0; connections are our addition. */
int route_table_register(struct route_table *t, const struct registration *r, int64_t now_ms,
                         struct registered *out, struct err *e) HP_MUST_USE;
/* E_NOTFOUND: no such registration. E_DENIED: it was renewed on a later connection than this one, so
 * the farewell is that of a predecessor. */
int route_table_unregister(struct route_table *t, const struct broker_ref *b) HP_MUST_USE;
/* A sign of life; what is registered moves to this connection if it is a later one. timeout_ms 0: as
 * registered. False: not registered. */
bool route_table_touch(struct route_table *t, const struct broker_ref *b, int64_t timeout_ms, int64_t now_ms);
/* The version last registered; false: not registered. */
bool route_table_version(const struct route_table *t, const struct broker_ref *b, struct data_version *out);

typedef void (*route_gone)(void *arg, const struct broker_ref *b); /* slices valid during the call */
/* Drops what lives on that connection and on no later one. */
void route_table_conn_closed(struct route_table *t, uint64_t conn_id, route_gone gone, void *arg);
/* Drops what gave no sign of life within its timeout. */
void route_table_expire(struct route_table *t, int64_t now_ms, route_gone gone, void *arg);

/* All three: sorted by name; slices borrow from the table until it changes. */
/* zone (null: none): only sets of that zone, and sets without a master. E_NOTFOUND, E_NOMEM. Free with
 * route_data_free. */
int route_table_query(const struct route_table *t, struct slice topic, struct slice zone,
                      struct route_data *out) HP_MUST_USE;
int route_table_brokers(const struct route_table *t, struct route_data *out) HP_MUST_USE; /* brokers only */
int route_table_topics(const struct route_table *t, struct slice **out, size_t *n) HP_MUST_USE; /* free(*out) */
