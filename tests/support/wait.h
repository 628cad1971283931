#pragma once
/* Waiting for a condition, never for a time. */
#include <stdbool.h>
#include <stdint.h>

/* Polls cond(arg) until it is true (returns true) or deadline_ms have passed (false). The condition
 * is looked at at once, then in steps of 1 to 20 ms, and a last time at the deadline. */
bool wait_until(bool (*cond)(void *arg), void *arg, int64_t deadline_ms);
/* Lets ms pass: only between the rounds of a test that something does not happen. */
void wait_step(int64_t ms);
