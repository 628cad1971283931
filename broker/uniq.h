#pragma once
/* UNIQ_KEY for producers that send none. */
#include "base/clock.h"
#include "proto/message.h"

enum { UNIQ_KEY_SIZE = 33 };
/* Any thread. 32 upper-case hex characters: IPv4 address (or 4 bytes of the IPv6 one), process, a
 * random number of the process, ms since the month began, counter. Tools read the time out of it.
 * Source: MessageClientIDSetter of 5.5.0. */
void uniq_key(const struct host *h, const struct clock *clock, char out[UNIQ_KEY_SIZE]);
