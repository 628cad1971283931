#pragma once
/* A RocketMQ client reduced to its wire: one blocking connection that sends any request and receives
 * answers and pushes. What it asserts it asserts with cmocka. */
#include "proto/command.h"
#include "proto/message.h"

struct peer {
    int fd;
    int32_t opaque;   /* of the last request */
    struct buf in;    /* received, not yet taken */
    struct buf taken; /* the frame of the last answer or push: their slices point here */
    struct buf spill;
    struct command command; /* the last answer or push */
};

void peer_open(struct peer *p, const char *address); /* "127.0.0.1:port" */
void peer_close(struct peer *p);

/* Sends a request of the code's row; flag: COMMAND_FLAG_ONEWAY or 0. Returns its opaque. */
int32_t peer_send(struct peer *p, int32_t code, const void *hdr, struct slice body, int32_t flag);
void peer_send_raw(struct peer *p, struct slice bytes); /* as they are */
/* What the socket takes within a second; -1 when it takes nothing (or is closed). */
ssize_t peer_try_send(struct peer *p, struct slice bytes);
/* The next frame of any kind within deadline_ms; NULL when none came, or the connection ended. */
const struct command *peer_receive(struct peer *p, int64_t deadline_ms);
/* Sends and waits for the answer (10 s); pushes that come first are dropped. Never NULL: fails the test. */
const struct command *peer_call(struct peer *p, int32_t code, const void *hdr, struct slice body);
/* Waits for a push of this code; NULL when deadline_ms passed. Answers that come first are dropped. */
const struct command *peer_push(struct peer *p, int32_t code, int64_t deadline_ms);

/* --- what tests do again and again --- */
/* A heartbeat of a producer group and/or a consumer group (NULL: not that one), subscribed to topic. */
void peer_heartbeat(struct peer *p, const char *client_id, const char *producer_group,
                    const char *consumer_group, const char *topic);
/* A send that must succeed. props: "K\1V\2..." or "". */
struct peer_sent {
    int64_t queue_offset, phys_offset;
    int32_t queue_id;
    char msg_id[64];
};
struct peer_sent peer_send_message(struct peer *p, const char *group, const char *topic,
                                   int32_t queue_id, const char *body, const char *props);
/* Pulls once from an offset, without subscription lookup. Returns the answer; at most `max` records are
 * decoded into out (slices as peer.command's), *n receives their number. */
const struct command *peer_pull(struct peer *p, const char *topic, int32_t queue_id, int64_t offset,
                                int64_t suspend_ms, struct message *out, int max, int *n);
int64_t peer_max_offset(struct peer *p, const char *topic, int32_t queue_id);
/* Until the queue holds `want` messages at least: false, or the test fails, after deadline_ms. */
bool peer_reaches(struct peer *p, const char *topic, int32_t queue_id, int64_t want, int64_t deadline_ms);
void peer_await_offset(struct peer *p, const char *topic, int32_t queue_id, int64_t want);
