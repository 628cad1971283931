#pragma once
/* The state of the scripted servers, shared by fake_broker.c (life, the test's side) and
 * fake_handlers.c. */
#include <uv.h>

#include "base/buf.h"
#include "proto/message.h"
#include "remoting/server.h"
#include "tests/support/fake_broker.h"

enum {
    BROKERS_MAX = 4,
    TOPICS_MAX = 32,
    QUEUES_MAX = 16,
    MESSAGES_MAX = 4096,
    REQUESTS_MAX = 8192,
    SCRIPTS_MAX = 64,
    OFFSETS_MAX = 256,
    MEMBERS_MAX = 64,
    PARKED_MAX = 256,
    BATCH = 32
};

struct kept {
    int node, code;
    bool oneway;
    size_t ext_n;
    struct ext_field *ext;
    char *body;
    size_t body_n;
};
struct script {
    int node, code, answer, times;
    enum fake_action action;
};
struct stored {
    int node, queue;
    char topic[160];
    int64_t queue_offset;
    char *record;
    size_t n;
};
struct offset {
    int node, queue;
    char group[160], topic[160];
    int64_t value;
};
struct member {
    int node;
    struct conn *conn; /* alive: removed by on_close */
    bool producer;
    char group[160], client[160];
};
struct node {
    struct fake *f;
    int index; /* FAKE_NAMESRV or broker number */
    struct server *server;
    char name[16], addr[32];
    bool unrouted, killed;
};
struct fake {
    struct loop loop;
    uv_mutex_t lock;
    struct node namesrv, brokers[BROKERS_MAX];
    int broker_n;
    bool stopping;
    struct {
        char name[160];
        int queues;
        int64_t min[BROKERS_MAX][QUEUES_MAX];
    } topics[TOPICS_MAX];
    int topic_n;
    struct script scripts[SCRIPTS_MAX];
    int script_n;
    struct kept *requests;
    int request_n;
    struct stored *messages;
    int message_n;
    struct offset offsets[OFFSETS_MAX];
    int offset_n;
    struct member members[MEMBERS_MAX];
    int member_n;
    struct req *parked[PARKED_MAX];
    int parked_n;
    int late_n;
};


enum { FAKE_NAMESRV_ROUTE_N = 2, FAKE_BROKER_ROUTE_N = 15 };
extern const struct route FAKE_NAMESRV_ROUTES[FAKE_NAMESRV_ROUTE_N];
extern const struct route FAKE_BROKER_ROUTES[FAKE_BROKER_ROUTE_N];

/* Under the lock. */
struct stored *fake_append(struct fake *f, int node,
                           struct message *m); /* fills m's hosts and offsets */
void fake_offset_put(struct fake *f, int node, struct slice group, struct slice topic, int queue,
                     int64_t value);
int64_t fake_offset_get(struct fake *f, int node, struct slice group, struct slice topic,
                        int queue);
/* On the loop, without the lock: looks again at every parked pull. */
void fake_serve_parked(struct fake *f);
void fake_on_close(struct server *s, struct conn *c);
struct node *fake_node_of(struct req *r);
void fake_copy(char *dst, size_t cap, struct slice s); /* empty when it does not fit */
