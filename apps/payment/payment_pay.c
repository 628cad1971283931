/* Creating a payment, and settling one.
 *
 * Creating:
 *   1 the order grants the payment and names amount and deadline   it promises to stay payable till then
 *   2 the open row is committed, behind the order's gate
 *   3 the provider is told                                         repeatable: the pay id names the charge
 * A crash after 2 leaves an open payment; asking again finds it and repeats 3.
 *
 * Settling, when the provider says that money came, or at once when there is nothing to pay: a local
 * transaction moves OPEN or CLOSED to PAID, and `paid` is sent if and only if it commits (transaction.h).
 * Of two callbacks at once one moves the row; the other's transaction rolls back, and so does one that is
 * slower than the check-back: it reports "not recorded", and the next attempt starts afresh.
 *
 * Runs on: HTTP workers and the reconciler, blocking. The answer never waits for the consumers of `paid`. */
#include "apps/payment/payment.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apps/common/transaction.h"

struct failpoint payment_fp[PAYMENT_FP_COUNT] = {
#define FAILPOINT_DEF(id, name_, meaning_) [id] = {.name = name_, .meaning = meaning_},
#include "apps/payment/failpoints.def"
#undef FAILPOINT_DEF
};

static int injected(struct app_error *e)
{
    return app_fail(e, APP_E_DOWN, "failpoint");
}

/* --- settling --- */

struct envelope paid_message(const struct payment *p, const char *provider_txn_id, int attempt)
{
    struct envelope v = {.event = EVENT_paid,
                         .has = ENV_PAY | ENV_USER | ENV_AMOUNT,
                         .order_id = p->order_id,
                         .attempt = attempt,
                         .pay_id = p->pay_id,
                         .user_id = p->user_id,
                         .amount = p->amount};
    if (provider_txn_id != NULL) {
        v.has |= ENV_PROVIDER_TXN;
        (void)snprintf(v.provider_txn_id, sizeof v.provider_txn_id, "%s", provider_txn_id);
    }
    return v;
}

struct settle {
    const struct payment_app *a;
    const struct payment *p;
    const char *provider_txn_id;
};

static int settle_effect(struct db_conn *c, void *arg)
{
    const struct settle *s = arg;
    return pay_repo_settle(c, s->p->pay_id, s->provider_txn_id, s->a->drive.first_ms);
}

/* 0: the payment is recorded as paid, by us or by a twin. */
static int settle(struct payment_app *a, const struct payment *p, const char *provider_txn_id,
                  const char *traceparent, struct app_error *e)
{
    const struct envelope v = paid_message(p, provider_txn_id, 1);
    struct settle s = {.a = a, .p = p, .provider_txn_id = provider_txn_id};
    const struct transaction t = {.db = a->db,
                                  .mq = a->mq,
                                  .ids = a->ids,
                                  .v = &v,
                                  .traceparent = traceparent,
                                  .effect = settle_effect,
                                  .arg = &s,
                                  .before_half = &payment_fp[FP_PAY_BEFORE_HALF],
                                  .after_half = &payment_fp[FP_PAY_AFTER_HALF],
                                  .after_tx = &payment_fp[FP_PAY_AFTER_TX]};
    const int rc = transaction_run(&t, e);
    if (rc == 0)
        log_info("paid", "pay_id=%lld order_id=%lld amount=%lld", (long long)p->pay_id,
                 (long long)p->order_id, (long long)p->amount);
    return rc == APP_E_REFUSED && e->code == CODE_PAY_IS_PAID ? 0 : rc;
}

int pay_settle_free(struct payment_app *a, const struct payment *p, const char *traceparent,
                    struct app_error *e)
{
    return settle(a, p, NULL, traceparent, e);
}

/* --- the provider's callback --- */

static void mark_suspect(struct payment_app *a, const struct payment *p, const struct callback *cb)
{
    struct app_error e;
    log_error("callback_suspect", "pay_id=%lld amount=%lld expected=%lld currency=%s",
              (long long)p->pay_id, (long long)cb->amount, (long long)p->amount,
              app_log_value(cb->currency));
    metric_add(metrics_counter(a->metrics, "shop_callback_suspect_total",
                               "callbacks with the wrong money", ""),
               1);
    if (!p->suspect && pay_repo_suspect(a->db, p->pay_id, &e) != 0)
        log_error("suspect_not_marked", "pay_id=%lld error=%s", (long long)p->pay_id,
                  app_log_value(e.text));
}

int pay_callback(struct payment_app *a, const struct callback *cb, const char *traceparent,
                 struct app_error *e)
{
    struct payment p = {.pay_id = cb->pay_id};
    bool found = false;
    int rc = pay_repo_load(a->db, cb->pay_id, &p, &found, e);
    if (rc != 0)
        return rc;
    const bool same_money =
        found && cb->amount == p.amount && strcmp(cb->currency, a->currency) == 0;
    switch (callback_reaction_of(found, p.state, same_money)) {
    case CALLBACK_STRANGER:
        return app_refuse(e, CODE_PAY_NOT_FOUND, "%lld", (long long)cb->pay_id);
    case CALLBACK_MISMATCH:
        mark_suspect(a, &p, cb);
        return app_refuse(e, CODE_PAY_AMOUNT, "payment %lld", (long long)cb->pay_id);
    case CALLBACK_KNOWN:
        return 0;
    case CALLBACK_SETTLE:
        break;
    }
    rc = settle(a, &p, cb->provider_txn_id, traceparent, e);
    if (rc == 0 && FAILPOINT(payment_fp[FP_PAY_BEFORE_REPLY]))
        rc = injected(e);
    return rc;
}

/* --- creating --- */

static int unavailable(struct app_error *e, const char *step, int64_t order_id)
{
    log_warn("create_failed", "order_id=%lld step=%s error=%s", (long long)order_id, step,
             app_log_value(e->text));
    return app_refuse(e, CODE_PAY_CREATE, "%s", "");
}

static int fail_unless_refused(int rc, struct app_error *e, const char *step, int64_t order_id)
{
    return rc == 0 || rc == APP_E_REFUSED ? rc : unavailable(e, step, order_id);
}

static int open_row(struct payment_app *a, int64_t order_id, const char *traceparent,
                    struct created *out, struct app_error *e)
{
    struct payment p = {.order_id = order_id};
    int rc = ids_next(a->ids, &p.pay_id, e);
    if (rc == 0)
        rc = order_pay_intent(a, &p, traceparent, e);
    if (rc == 0 && FAILPOINT(payment_fp[FP_PAY_AFTER_INTENT]))
        rc = injected(e);
    if (rc == 0)
        rc = pay_repo_open(a->db, &p, a->drive.query_ms, &out->payment, &out->is_new, e);
    if (rc == 0 && FAILPOINT(payment_fp[FP_PAY_AFTER_OPEN]))
        rc = injected(e);
    return fail_unless_refused(rc, e, "open", order_id);
}

/* The order may have been cancelled while the provider was being told: whoever closed the payment may have
 * found no charge to close, and counted that as confirmed. Then it is ours to close. */
static int refuse_if_closed(struct payment_app *a, struct created *out, struct app_error *e)
{
    struct payment now = {.state = PAY_CLOSED};
    bool found = false;
    const int rc = pay_repo_load(a->db, out->payment.pay_id, &now, &found, e);
    if (rc != 0)
        return unavailable(e, "read", out->payment.order_id);
    out->payment = now;
    if (now.state != PAY_CLOSED)
        return 0;
    struct app_error ignored;
    if (provider_close(a, now.pay_id, &ignored) != 0)
        log_warn("provider_close_failed", "pay_id=%lld error=%s", (long long)now.pay_id,
                 app_log_value(ignored.text));
    return app_refuse(e, CODE_PAY_NOT_PAYABLE, "it was cancelled meanwhile");
}

static int charge(struct payment_app *a, struct created *out, struct app_error *e)
{
    int rc = provider_charge(a, &out->payment, &out->pay_url, e);
    if (rc == 0 && FAILPOINT(payment_fp[FP_PAY_AFTER_CHARGE]))
        rc = injected(e);
    return rc != 0 ? unavailable(e, "charge", out->payment.order_id) : refuse_if_closed(a, out, e);
}

int pay_create(struct payment_app *a, int64_t order_id, const char *traceparent,
               struct created *out, struct app_error *e)
{
    *out = (struct created){.is_new = false};
    int rc = open_row(a, order_id, traceparent, out, e);
    if (rc != 0)
        return rc;
    if (out->payment.amount > 0) {
        rc = charge(a, out, e);
    } else if ((rc = pay_settle_free(a, &out->payment, traceparent, e)) == 0) {
        out->payment.state = PAY_PAID;
    } else {
        rc = unavailable(e, "settle", order_id);
    }
    if (rc != 0) {
        free(out->pay_url);
        out->pay_url = NULL;
    }
    return rc;
}

/* --- closing --- */

void pay_close_at_provider(const struct payment_app *a, int64_t order_id)
{
    int64_t ids[UNCONFIRMED_MAX];
    size_t n = 0;
    struct app_error e;
    int rc = pay_repo_unconfirmed(a->db, order_id, ids, &n, &e);
    for (size_t i = 0; i < n && rc == 0; i++) {
        rc = provider_close(a, ids[i], &e);
        if (rc == 0)
            rc = pay_repo_close_confirmed(a->db, ids[i], &e);
    }
    if (rc != 0)
        log_warn("provider_close_failed", "order_id=%lld error=%s", (long long)order_id,
                 app_log_value(e.text));
}
