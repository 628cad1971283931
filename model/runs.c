/* The table of runs. Constant data; any thread.
 *
 * A rule that nothing else makes up for is left out alone. Where a second line of defence would heal its lack,
 * that is left out too, together with what only this second line heals: `besides`. That the model holds with
 * `besides` alone is a run of its own, so it is the mutant's rule that is found and nothing else; a unit test
 * insists on that. */
#include "model/runs.h"

#include "model/paying.h"
#include "model/placing.h"

#include <string.h>

#define NO(rule) (UINT64_C(1) << RULE_##rule)
/* Nothing but the half messages: nobody drives on what is late, and the broker loses nothing. */
#define HALF_ALONE (NO(SWEEPER) | NO(TIMER) | NO(VERDICT) | NO(LOSS))

#define NO_RECONCILER (NO(RECONCILER) | NO(LOSS))

const struct model_run model_runs[] = {
    {"placing", &placing_model, 0, 0, 2, NULL},
    {"placing-no-check-back", &placing_model, NO(CHECK_BACK), 0, 1, NULL},
    {"placing-no-timer", &placing_model, NO(TIMER), 0, 1, NULL},
    {"placing-no-verdict", &placing_model, NO(VERDICT), 0, 1, NULL},
    {"placing-no-replay", &placing_model, NO(REPLAY), 0, 1, NULL},
    {"placing-no-inbox", &placing_model, NO(INBOX), 0, 1, NULL},
    {"placing-no-ledger", &placing_model, NO(LEDGER), 0, 1, NULL},
    {"placing-half-alone", &placing_model, HALF_ALONE, 0, 2, NULL},

    {"no-barrier", &placing_model, 0, NO(BARRIER), 1, "a closed order still holds something"},
    {"no-tombstone", &placing_model, 0, NO(TOMBSTONE), 1, "a closed order still holds something"},
    {"blind-cancel", &placing_model, 0, NO(BARRIER) | NO(LEDGER), 1,
     "given back what was not taken"},
    {"blind-confirm", &placing_model, 0, NO(CONFIRM_CAS), 1, "a confirmed order lacks something"},
    {"end-without-verdict", &placing_model, 0, NO(RULE_E), 1,
     "the client was refused an order that is confirmed"},
    {"ack-without-branch", &placing_model, 0, NO(ACK_KEY), 1, "an order stays cancelling"},
    {"ack-not-repeated", &placing_model, 0, NO(REEMIT), 1, "an order stays cancelling"},
    {"no-sweeper", &placing_model, 0, NO(SWEEPER), 1, "an order stays pending"},
    {"half-too-late", &placing_model, HALF_ALONE, NO(ARMED_FIRST), 1, "an order stays pending"},
    {"check-no-tombstone", &placing_model, HALF_ALONE, NO(CHECK_TOMBSTONE), 1,
     "an order stays pending"},
    {"check-forgets-pending", &placing_model, HALF_ALONE, NO(CHECK_PENDING), 1,
     "an order stays pending"},
    {"user-no-decision", &placing_model, HALF_ALONE, NO(DECISION_ROW), 1,
     "an order stays cancelling"},

    {"paying", &paying_model, 0, 0, 1, NULL},
    {"paying-no-inbox", &paying_model, NO(INBOX), 0, 1, NULL},
    {"paying-no-replay", &paying_model, NO(REPLAY), 0, 1, NULL},
    {"paying-no-reconciler", &paying_model, NO_RECONCILER, 0, 2, NULL},

    {"answer-not-repeated", &paying_model, 0, NO(REEMIT), 1,
     "a paid order's payment is never settled"},
    {"paid-blindly", &paying_model, 0, NO(PAID_CAS), 1, "money is kept without an order"},
    {"refund-only-if-cancelled", &paying_model, 0, NO(REFUND_ALWAYS), 1,
     "money is kept without an order"},
    {"late-money-ignored", &paying_model, 0, NO(SETTLE_CLOSED), 1,
     "the provider keeps money that nobody has recorded"},
    {"refund-without-key", &paying_model, 0, NO(REFUND_KEY), 1,
     "the provider has given the money back twice"},
    {"points-no-barrier", &paying_model, 0, NO(BARRIER), 1, "points without a paid order"},
    {"ack-by-order-only", &paying_model, 0, NO(ACK_POINTS), 1,
     "a paid order's payment is never settled"},
    {"no-reconciler", &paying_model, 0, NO(RECONCILER), 1,
     "the provider keeps money that nobody has recorded"},
    {"no-decision-row", &paying_model, NO_RECONCILER, NO(DECISION_ROW), 1,
     "money is kept without an order"},
    {"siblings-left-open", &paying_model, 0, NO(CLOSE_SIBLINGS), 1, "a payment stays open"},
    {"no-gate", &paying_model, 0, NO(GATE), 1, "a payment stays open"},
};
const size_t model_runs_n = sizeof model_runs / sizeof model_runs[0];

const struct model_run *model_run_find(const char *name)
{
    for (size_t i = 0; i < model_runs_n; i++)
        if (strcmp(model_runs[i].name, name) == 0)
            return &model_runs[i];
    return NULL;
}

bool model_run_is_right(const struct model_run *r, const struct search_result *result)
{
    return r->finds ? result->violation && strcmp(result->violation, r->finds) == 0
                    : !result->violation;
}
