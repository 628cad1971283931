#pragma once
/* A broker in memory for the shop's flows: every service sends into it, every consumer group is served from
 * it, and nothing moves unless the test says so. Half messages wait for their END or a check; delayed ones
 * wait until the test lets time pass. What a group gives up is kept as its dead letter.
 *
 * Services may send from any thread; everything else is the test's own thread. */
#include "tests/support/shop/shop.h"

struct bus;
struct bus *bus_new(void);
void bus_free(struct bus *b); /* after mq_close of every client */
/* The message client of a service. */
struct mq *bus_mq(struct bus *b, const char *name);
void bus_subscribe(struct bus *b, const struct inbox *in);

/* Delivers until nothing moves any more; a message that is asked for later comes again, 16 times in all,
 * then it is a dead letter. Returns the number of deliveries. */
int bus_settle(struct bus *b);
/* Asks about every undecided half message once. Returns how many are still undecided. */
int bus_check(struct bus *b);
/* Delayed messages become due. Returns how many. */
int bus_let_time_pass(struct bus *b);

/* The next n messages of this event are lost on their way to this group. */
void bus_lose(struct bus *b, enum event ev, const char *group, int n);
/* Every message is delivered so often (1: once). */
void bus_copies(struct bus *b, int n);
/* The last message of an event that was sent (delivered or not); EVENT_none when there is none. */
struct envelope bus_last(struct bus *b, enum event ev);
int bus_sent(struct bus *b,
             enum event ev); /* how many of them, undecided and rolled back ones excluded */
