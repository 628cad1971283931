/* Half messages: decided at once, or left unknown so that the broker asks. */
#include "tests/interop/client/kit.h"

/* --- transactions --- */

static struct {
    int commit, rollback, again;
} checks;
static bool bystander_came, half_was_seen;
static const char *tx_topic;

static enum hp_transaction_state local(void *arg, const hp_message *m,
                                       const struct hp_send_result *half)
{
    (void)m;
    (void)half;
    const enum hp_transaction_state *state = arg;
    if (*state == HP_TX_COMMIT) { /* an ordinary message overtakes the half one */
        bystander_came = send_text("transaction-commit", tx_topic, "A", "bystander", NULL) &&
                         await("bystander", 0, 1, SOON_MS);
        half_was_seen = count("commit", 0) > 0;
    }
    return *state;
}

static enum hp_transaction_state check_back(void *arg, const hp_message_view *half)
{
    (void)arg;
    size_t n;
    const char *body = hp_view_body(half, &n);
    enum hp_transaction_state state = HP_TX_UNKNOWN;
    pthread_mutex_lock(&lock);
    if (n == 12 && memcmp(body, "check-commit", n) == 0) {
        checks.commit++;
        state = HP_TX_COMMIT;
    } else if (n == 14 && memcmp(body, "check-rollback", n) == 0) {
        checks.rollback++;
        state = HP_TX_ROLLBACK;
    } else if (n == 11 && memcmp(body, "check-again", n) == 0 && ++checks.again > 1) {
        state = HP_TX_COMMIT;
    }
    pthread_mutex_unlock(&lock);
    return state;
}

static bool send_half(const char *check, const char *body, enum hp_transaction_state state)
{
    struct hp_error err = {0};
    struct hp_send_result half;
    enum hp_transaction_state said;
    char keys[64];
    snprintf(keys, sizeof keys, "key-%s", body);
    hp_message *m = message(tx_topic, "A", keys, body);
    const int rc = hp_send_in_transaction(tx_producer, m, local, &state, &half, &said, &err);
    hp_message_free(m);
    if (rc)
        return complain(check, "half message %s: %s", body, err.text);
    return (half.status == HP_SEND_OK && said == state) ||
           complain(check, "half message %s: status %d, state %d", body, (int)half.status,
                    (int)said);
}

static bool transaction_checks(void)
{
    if (!await("check-commit", 0, 1, LATE_MS))
        return complain("transaction-checkback", "not received after %d checks",
                        number(&checks.commit));
    pass("transaction-checkback", "committed at check %d", number(&checks.commit));
    if (!await("check-again", 0, 1, LATE_MS) || number(&checks.again) < 2)
        return complain("transaction-checkback-again", "%d checks", number(&checks.again));
    pass("transaction-checkback-again", "unknown at the first check, committed at check %d",
         number(&checks.again));
    if (!await_number(&checks.rollback, 1, LATE_MS) ||
        !send_text("transaction-rollback", tx_topic, "A", "last", NULL) ||
        !await("last", 0, 1, SOON_MS))
        return complain("transaction-rollback", "%d checks of the message to roll back",
                        number(&checks.rollback));
    if (count("rollback", 0) || count("check-rollback", 0))
        return complain("transaction-rollback", "a message that was rolled back was delivered");
    pass("transaction-rollback", "neither at once nor by check-back delivered");
    return true;
}

void scenario_transaction(void)
{
    struct hp_error err = {0};
    tx_topic = create_topic("transaction");
    if (!start_alone("transaction-commit", "transaction-group", tx_topic,
                     (struct hp_consumer_options){0}, NULL))
        return;
    const struct hp_producer_options o = {.group = name_of("tx-producer"),
                                          .send_timeout_ms = 10000,
                                          .retry_times = -1,
                                          .check = check_back};
    if (hp_producer_new(client(0), &o, &tx_producer, &err))
        die("producer", &err);
    static const char *const undecided[] = {"check-commit", "check-rollback", "check-again"};
    for (int i = 0; i < 3; i++)
        if (!send_half("transaction-commit", undecided[i], HP_TX_UNKNOWN))
            return;
    if (!send_half("transaction-commit", "rollback", HP_TX_ROLLBACK) ||
        !send_half("transaction-commit", "commit", HP_TX_COMMIT))
        return;
    if (!bystander_came || half_was_seen || !await("commit", 0, 1, SOON_MS)) {
        complain("transaction-commit", "bystander %d, half seen %d, committed %d", bystander_came,
                 half_was_seen, count("commit", 0));
        return;
    }
    pass("transaction-commit", "invisible until committed");
    if (!transaction_checks() || !getenv("INTEROP_ONCE"))
        return;
    if (received_n() == 5)
        pass("transaction-once", "no message twice");
    else
        complain("transaction-once", "%d messages received, not 5", received_n());
}

