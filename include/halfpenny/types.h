#pragma once
/* Halfpenny client library: common types. Works against Halfpenny and Apache RocketMQ brokers (remoting
 * protocol, 4.x and 5.x).
 *
 * Conventions: functions return 0 or a negative HP_E_*; hp_strerror gives the meaning and struct hp_error
 * the details. Times are milliseconds. Strings are NUL-terminated UTF-8; bodies are bytes with a length.
 * Everything the library gives out lives as long as its documentation says; what you pass in is copied
 * unless "borrows" is said. All functions may be called from any thread unless said otherwise; the
 * library has no global state. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define HP_API __attribute__((visibility("default")))
#define HP_CHECK __attribute__((warn_unused_result))
#else
#define HP_API
#define HP_CHECK
#endif

enum hp_errno {
    HP_OK = 0,
    HP_E_NOMEM = -1,
    HP_E_INVALID = -2,     /* an argument; the text says which */
    HP_E_TIMEOUT = -3,     /* the outcome is unknown: a message may have been stored */
    HP_E_CONNECT = -4,     /* no broker or name server could be reached; nothing was sent */
    HP_E_NO_ROUTE = -5,    /* no name server knows the topic */
    HP_E_BROKER = -6,      /* the broker refused: hp_error.broker_code says why */
    HP_E_TOO_BIG = -7,
    HP_E_CLOSED = -8,      /* the object is shut down or shutting down */
    HP_E_STATE = -9,       /* not allowed now: not started, started twice, subscribed after start */
    HP_E_BUSY = -10,       /* a bound was reached: too many sends in flight */
    HP_E_PROTO = -11,      /* the peer's answer makes no sense */
    HP_E_UNKNOWN = -12     /* connection lost after the request was written: outcome unknown */
};
HP_API const char *hp_strerror(int code);

struct hp_error {
    int code;        /* HP_E_* */
    int broker_code; /* RocketMQ response code when code is HP_E_BROKER, else 0 */
    char text[256];  /* what, where, what to do */
};

enum hp_log_level { HP_LOG_DEBUG, HP_LOG_INFO, HP_LOG_WARN, HP_LOG_ERROR };

/* An instance: one loop thread, the connections, the routes and one client id. Producers and consumers
 * are made from it; it must outlive them. */
typedef struct hp_client hp_client;

struct hp_client_options {
    const char *namesrv_addr;  /* "host:port;host:port"; NULL: environment NAMESRV_ADDR */
    const char *client_ip;     /* part of the client id; NULL: the address used towards the name server */
    const char *instance_name; /* NULL: "<pid>#<ns>", unique */
    const char *unit_name;     /* NULL: none */
    int64_t route_refresh_ms;  /* 0: 30000 */
    int64_t heartbeat_ms;      /* 0: 30000 */
    int64_t request_timeout_ms; /* 0: 3000; for routes, heartbeats and the like */
    /* Called from library threads; NULL: warnings and errors go to stderr. */
    void (*log)(void *arg, enum hp_log_level level, const char *line);
    void *log_arg;
};
HP_API int hp_client_new(const struct hp_client_options *opts, hp_client **out, struct hp_error *err) HP_CHECK;
/* Every producer and consumer of it must be freed before. Blocks until its threads have ended. */
HP_API void hp_client_free(hp_client *c);
HP_API const char *hp_client_id(const hp_client *c);
/* Creates or updates a topic on every master of the cluster (code 17), then waits until the name server
 * routes it. queues: read and write queues each. */
HP_API int hp_create_topic(hp_client *c, const char *cluster, const char *topic, int queues,
                           int64_t timeout_ms, struct hp_error *err) HP_CHECK;
/* How many messages of a topic, over all its queues, a group has not come past; for operators and tests. The
 * group need not be alive, the caller need not belong to it. HP_E_NO_ROUTE: there is no such topic. */
HP_API int hp_group_lag(hp_client *c, const char *group, const char *topic, int64_t timeout_ms,
                        int64_t *lag, struct hp_error *err) HP_CHECK;

#ifdef __cplusplus
}
#endif
