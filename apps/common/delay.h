#pragma once
/* The broker's delay levels, as the shop's timers choose among them.
 *
 * A broker delays by numbered levels; what each means is its setting messageDelayLevel, and a service that
 * arms timers has to be told the same list. A timer that is longer than any level, or between two, is made
 * of several: the consumer of an early one arms the rest. */
#include "apps/common/error.h"

#define DELAY_LEVELS_MAX 18 /* what the protocol's clients accept */
/* RocketMQ's default of messageDelayLevel. */
#define DELAY_LEVELS_DEFAULT "1s 5s 10s 30s 1m 2m 3m 4m 5m 6m 7m 8m 9m 10m 20m 30m 1h 2h"

struct delay_levels {
    int n;
    int64_t ms[DELAY_LEVELS_MAX]; /* level i + 1 */
};
/* "1s 5s 2m 1h 1d": APP_E_CONFIG names the entry that is wrong. */
int delay_levels_parse(const char *text, struct delay_levels *out, struct app_error *e) APP_CHECK;
/* The longest level that is not longer than ms; where there is none, the shortest. From 1. */
int delay_level_for(const struct delay_levels *d, int64_t ms);
