/* Our client library as a test peer: interop_client NAMESRV SCENARIO PREFIX (README.md says what a
 * peer is).
 *
 * It uses the public API alone, as an application would. A scenario is a function that runs checks
 * in order; a check that fails says why and ends its scenario, because later checks build on it. An
 * alarm ends the process when a scenario hangs. The scenarios and their kit are in client/. */
#include <unistd.h>

#include "tests/interop/client/kit.h"

enum { LIMIT_S = 120 };

/* --- main --- */

static const struct {
    const char *name;
    void (*run)(void);
} SCENARIOS[] = {
    {"send", scenario_send},           {"consume", scenario_consume},
    {"retry", scenario_retry},         {"dlq", scenario_dlq},
    {"delay", scenario_delay},         {"transaction", scenario_transaction},
    {"broadcast", scenario_broadcast}, {"lag", scenario_lag},
    {"cluster", scenario_cluster},     {"probe-produce", scenario_probe_produce},
    {"probe-consume", scenario_probe_consume},
};

int main(int argc, char **argv)
{
    if (argc == 4) {
        namesrv = argv[1];
        prefix = argv[3];
        for (size_t i = 0; i < sizeof SCENARIOS / sizeof *SCENARIOS; i++) {
            if (strcmp(argv[2], SCENARIOS[i].name) != 0)
                continue;
            alarm(LIMIT_S); /* a scenario that hangs ends by SIGALRM: not status 0 */
            SCENARIOS[i].run();
            close_all();
            return failed == 0 && passed > 0 ? 0 : 1;
        }
    }
    fprintf(stderr, "usage: interop_client NAMESRV SCENARIO PREFIX, SCENARIO one of");
    for (size_t i = 0; i < sizeof SCENARIOS / sizeof *SCENARIOS; i++)
        fprintf(stderr, " %s", SCENARIOS[i].name);
    fprintf(stderr, "\n");
    return 2;
}
