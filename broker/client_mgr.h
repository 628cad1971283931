#pragma once
/* Who is connected: producers and consumers by group, as their heartbeats say. The identity of a
 * client is its connection (two connections with one client id are two entries).
 *
 * Threads: any (one small lock, never held while something is sent). Connection references are held
 * while an entry exists. Source: ConsumerManager, ProducerManager of 5.5.0. */
#include "base/clock.h"
#include "proto/body.h"
#include "proto/subscription.h"
#include "remoting/server.h"

struct clients; /* opaque */

/* A group's subscription to one topic; counted, immutable. */
struct group_sub {
    _Atomic int refs;
    struct subscription s;
};
/* One reference. NULL with e set: a bad expression (E_INVAL), no memory. */
struct group_sub *group_sub_new(struct slice topic, struct slice sub_string, struct slice type,
                                int64_t version, struct err *e);
struct group_sub *group_sub_ref(struct group_sub *s);
void group_sub_unref(struct group_sub *s); /* NULL is fine */

struct clients_limits {
    size_t groups_max;        /* producer groups and consumer groups, each */
    size_t members_max;       /* per group */
    size_t subs_max;          /* topics per consumer group */
    int64_t expire_ms;        /* channelExpiredTimeout */
};
struct clients *clients_new(const struct clients_limits *l, const struct clock *clock);
void clients_free(struct clients *c);

/* Any loop: the entries of a connection; conn_set_user holds it. */
struct client_conn *client_conn_new(struct conn *c);
/* Removes a connection from every group, and tells the rest of its consumer groups (code 40). */
void client_conn_closed(struct clients *c, struct client_conn *cc);

/* E_BUSY: a limit. */
int clients_add_producer(struct clients *c, struct client_conn *cc, struct slice group,
                         struct slice client_id, int32_t version, uint8_t language,
                         struct err *e) HP_MUST_USE;
/* Registers and replaces the group's subscriptions; sends 40 to the members when membership or the
 * set of topics changed and `notify`. */
int clients_add_consumer(struct clients *c, struct client_conn *cc,
                         const struct heartbeat_consumer *hc, struct slice client_id,
                         int32_t version, uint8_t language, bool notify, struct err *e) HP_MUST_USE;
void clients_remove(struct clients *c, struct client_conn *cc, struct slice producer_group,
                    struct slice consumer_group, bool notify); /* null slices: not that side */
/* Drops members without a heartbeat for expire_ms and closes their connections. */
void clients_expire(struct clients *c);

/* A live connection of the producer group for a check-back, round robin, with a reference for the
 * caller (conn_unref). NULL: nobody of the group is connected. */
struct conn *clients_pick_producer(struct clients *c, struct slice group);

enum consumer_model { MODEL_CLUSTERING, MODEL_BROADCASTING };
/* E_NOTFOUND: the group has no live member (24). *out is NULL when the group is online without this
 * topic; otherwise counted for the caller. */
int clients_subscription(struct clients *c, struct slice group, struct slice topic,
                         struct group_sub **out, enum consumer_model *model);
/* Client ids of a consumer group as a 38 body. E_NOTFOUND: none. */
int clients_consumer_ids(struct clients *c, struct slice group, struct buf *out) HP_MUST_USE;
size_t clients_consumer_count(struct clients *c, struct slice group);
