#pragma once
/* Inside namesrv. */
#include "namesrv/namesrv.h"
#include "namesrv/table.h"
#include "remoting/server.h"

struct namesrv {
    struct loop loop;
    struct server *server;
    struct route_table *routes;
    const struct clock *clock;
    uv_timer_t scan; /* looks for silent brokers */
    int64_t scan_interval_ms;
    bool all_topic_list_enable;
    int64_t ready_at_ms; /* monotonic; route queries are refused before */
    uv_sem_t scan_closed;
};
static inline struct namesrv *namesrv_of(const struct req *r) { return server_owner(req_server(r)); }
static inline int64_t namesrv_now(const struct namesrv *n) { return clock_mono(n->clock); }

void namesrv_log_gone(const char *event, const struct broker_ref *b);

/* register.c: what brokers say */
void on_register_broker(struct req *r);
void on_unregister_broker(struct req *r);
void on_query_data_version(struct req *r);
void on_broker_heartbeat(struct req *r);
/* query.c: what clients and tools ask */
void on_get_route(struct req *r);
void on_get_cluster_info(struct req *r);
void on_get_all_topics(struct req *r);
