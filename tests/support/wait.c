/* Polling with a deadline. Runs on the caller's thread, which sleeps between two looks; the steps
 * grow from 1 to 20 ms, so that short waits are short and long ones do not eat a core. */
#include "tests/support/wait.h"

#include <poll.h>
#include <stddef.h>

#include "base/clock.h"

void wait_step(int64_t ms)
{
    poll(NULL, 0, (int)ms);
}

bool wait_until(bool (*cond)(void *arg), void *arg, int64_t deadline_ms)
{
    int64_t deadline = clock_mono(&clock_system) + deadline_ms;
    for (int64_t pause = 1; !cond(arg); pause = pause < 20 ? pause + 1 : 20) {
        int64_t left = deadline - clock_mono(&clock_system);
        if (left <= 0)
            return cond(arg);
        wait_step(left < pause ? left : pause);
    }
    return true;
}
