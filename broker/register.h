#pragma once
/* Tells every name server what this broker serves: at start, every registerNameServerPeriod, at
 * each change of a topic, soon after a refusal; and goodbye at the end. Service loop only. */
#include "base/err.h"

struct broker;
struct registrar; /* opaque */

int registrar_start(struct broker *b, struct err *e) HP_MUST_USE;
/* One round to all name servers now. done (may be NULL) runs once, when each has answered or
 * failed, at the latest after registerBrokerTimeoutMills; at once when there is no name server. */
void registrar_round(struct broker *b, void (*done)(void *arg), void *arg);
/* Unregisters everywhere, then done(arg), at the latest after a second. No round starts again. */
void registrar_stop(struct broker *b, void (*done)(void *arg), void *arg);
void registrar_free(struct broker *b);
