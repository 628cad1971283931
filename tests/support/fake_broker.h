#pragma once
/* A name server and brokers in the test's own process, on sockets of 127.0.0.1, for tests of the
 * client library.
 *
 * They do what a client needs in the simplest way (routes, heartbeats, group members, a message
 * list for each queue, long polls, offsets) and what a test scripts: the next n requests of a code
 * at a broker are answered with another code, not answered, or their connection is closed. Every
 * request is kept for inspection.
 *
 * All functions are called on the test's thread. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

struct fake;
enum { FAKE_NAMESRV = -1, FAKE_ALL = -2 };

struct fake *fake_start(int brokers); /* fails the test when it cannot */
void fake_stop(struct fake *f);
const char *fake_namesrv(const struct fake *f);
/* Routed at every broker with that many queues. Topics unknown here get code 17; so does TBW102. */
void fake_topic(struct fake *f, const char *name, int queues);
/* Takes a broker out of the routes of all topics. */
void fake_unroute(struct fake *f, int broker);
/* Closes the broker's connections and refuses new ones until fake_stop. */
void fake_kill(struct fake *f, int broker);

/* FAKE_LATE: heartbeats only; handled after `answer` ms, whatever came in between. */
enum fake_action { FAKE_ANSWER, FAKE_SILENT, FAKE_CLOSE, FAKE_LATE };
/* The next `times` requests of that code at that broker (FAKE_NAMESRV too). answer: the response
 * code. */
void fake_script(struct fake *f, int broker, int code, enum fake_action action, int answer,
                 int times);

int fake_late(struct fake *f); /* requests that wait for their time */
/* Requests of a code seen so far at a broker (FAKE_ALL: at all brokers). */
int fake_seen(struct fake *f, int broker, int code);
/* The value of an ext field of the nth such request, from 0; a copy that the caller frees, NULL
 * when there is no such request or field. */
char *fake_field(struct fake *f, int broker, int code, int nth, const char *key);
bool fake_oneway(struct fake *f, int broker, int code, int nth);
char *fake_body(struct fake *f, int broker, int code, int nth, size_t *n);

/* Appends a message at a broker as if a producer had sent it. */
void fake_put(struct fake *f, int broker, const char *topic, int queue, const char *props,
              const char *body);
int fake_stored(struct fake *f, int broker, const char *topic); /* messages in all queues */
int64_t fake_offset(struct fake *f, int broker, const char *group, const char *topic,
                    int queue); /* -1: none */
void fake_set_offset(struct fake *f, int broker, const char *group, const char *topic, int queue,
                     int64_t offset);
/* The queue begins at this offset: pulls below get code 21. */
void fake_set_min(struct fake *f, int broker, const char *topic, int queue, int64_t min);
/* Pushes a check-back for a half message to a connection that has registered the producer group;
 * false when there is none. */
bool fake_check(struct fake *f, int broker, const char *group, const char *topic, const char *body,
                int64_t queue_offset, int64_t phys_offset);
int fake_members(struct fake *f, int broker, const char *group); /* registered consumers */
