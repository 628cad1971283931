#pragma once
/* A participant's own way to a verdict, when no cancellation comes: tries that nobody has settled for
 * verdict-age-ms are asked for at the order service, which alone knows what became of the order.
 *
 *   paid                    final: not asked for again
 *   confirmed, open         asked for again after verdict-again-ms
 *   cancelled, invalid      undone here and now, behind the barrier; cancelled: with a cancel_ack
 *   unknown                 undone when it is still unknown verdict-again-ms later
 *
 * It is the last line behind order_cancel, its redeliveries and the sweeper: for a cancellation that became
 * a dead letter, and for an order row that was lost. */
#include "apps/common/app.h"
#include "apps/common/participant.h"

/* Rows for a participant's table of settings. */
#define VERDICT_OPTIONS                                                                            \
    {"order-url", APP_TEXT, NULL, 8, 200, "base URL of the order service's internal port", false}, \
        {"verdict-ms",                                                                             \
         APP_INT,                                                                                  \
         "60000",                                                                                  \
         0,                                                                                        \
         3600000,                                                                                  \
         "how often tries without a verdict are looked for, ms; 0: this instance does not",        \
         false},                                                                                   \
        {"verdict-age-ms",                                                                         \
         APP_INT,                                                                                  \
         "600000",                                                                                 \
         100,                                                                                      \
         86400000,                                                                                 \
         "the order service is asked about a try after this, ms",                                  \
         false},                                                                                   \
        {"verdict-again-ms", APP_INT, "300000", 100, 86400000, "and again after this, ms", false}, \
    {                                                                                              \
        "rpc-ms", APP_INT, "1000", 50, 60000, "timeout of one call to the order service, ms",      \
            false                                                                                  \
    }

enum verdict_action {
    VERDICT_WAIT,
    VERDICT_FINAL,
    VERDICT_UNDO,
    VERDICT_UNDO_TELL,
    VERDICT_UNKNOWN
};
/* NULL and words of a newer order service: VERDICT_WAIT. */
enum verdict_action verdict_action_of(const char *verdict);

struct verdict_scan {
    const struct participant *p;
    struct db *db;
    const char *order_url;
    int64_t age_ms, again_ms, rpc_ms;
};
/* Fills *v from the settings and starts its job, unless verdict-ms says 0. For app_service.start. */
int verdict_start(struct verdict_scan *v, struct app *a, const struct participant *p,
                  struct app_error *e) APP_CHECK;
int verdict_step(void *arg, struct app_error *e); /* app_step; arg a struct verdict_scan */
