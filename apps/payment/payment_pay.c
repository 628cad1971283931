/* Creating a payment, and settling one.
 *
 * Creating:
 *   1 the order grants the payment and names amount and deadline   it promises to stay payable till then
 *   2 the open row is committed, behind the order's gate
 *   3 the provider is told                                         repeatable: the pay id names the charge
 * A crash after 2 leaves an open payment; asking again finds it and repeats 3.
 *
 * Settling (P2), when the provider says that money came, or at once when there is nothing to pay:
 *   1 half message `paid` with a new transaction id
 *   2 local transaction: decision row, OPEN or CLOSED -> PAID
 *   3 END with the decision that stands in the database
 * Whoever is slower than the check-back finds its decision row taken and reports "not recorded"; the next
 * attempt has a new id. Of two callbacks at once one moves the row; the other's transaction rolls back.
 *
 * Rule E: an END is sent only for a decision that was read from PostgreSQL, or written by a commit that
 * was acknowledged. After a failed or unknown commit the decision is asked for like the check-back does
 * it, which also settles that a late commit cannot happen any more.
 *
 * Runs on: HTTP workers, blocking. The answer never waits for the consumers of `paid`. */
#include "apps/payment/payment.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apps/common/decision.h"

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

static int new_txn_id(const struct payment_app *a, char out[ID_TEXT_MAX + 8], struct app_error *e)
{
    int64_t id = 0;
    char text[ID_TEXT_MAX];
    const int rc = ids_next(a->ids, &id, e);
    if (rc == 0)
        (void)snprintf(out, ID_TEXT_MAX + 8, "pay-%s", id_text(id, text));
    return rc;
}

static struct envelope paid_message(const struct payment *p, const char *provider_txn_id)
{
    struct envelope v = {.event = EVENT_paid,
                         .has = ENV_PAY | ENV_USER | ENV_AMOUNT,
                         .order_id = p->order_id,
                         .pay_id = p->pay_id,
                         .user_id = p->user_id,
                         .amount = p->amount};
    if (provider_txn_id != NULL) {
        v.has |= ENV_PROVIDER_TXN;
        (void)snprintf(v.provider_txn_id, sizeof v.provider_txn_id, "%s", provider_txn_id);
    }
    return v;
}

static int send_half(struct payment_app *a, const struct envelope *v, const char *txn_id,
                     const char *traceparent, struct mq_half *half, struct app_error *e)
{
    int rc = FAILPOINT(payment_fp[FP_PAY_BEFORE_HALF])
                 ? injected(e)
                 : mq_half(a->mq, v, txn_id, 0, traceparent, half, e);
    if (rc == 0 && FAILPOINT(payment_fp[FP_PAY_AFTER_HALF]))
        rc = injected(e);
    return rc;
}

/* 0: the payment is recorded as paid, by us or by a twin. */
static int settle(struct payment_app *a, const struct payment *p, const char *provider_txn_id,
                  const char *traceparent, struct app_error *e)
{
    char txn_id[ID_TEXT_MAX + 8];
    struct mq_half half;
    const struct envelope v = paid_message(p, provider_txn_id);
    int rc = new_txn_id(a, txn_id, e);
    if (rc != 0 || (rc = send_half(a, &v, txn_id, traceparent, &half, e)) != 0)
        return rc;
    rc = pay_repo_settle(a->db, txn_id, &v, provider_txn_id, e);
    const enum mq_verdict verdict = rc == 0 ? MQ_COMMIT : decision_check(a->db, txn_id, &v);
    if (!FAILPOINT(payment_fp[FP_PAY_AFTER_TX]))
        mq_end(a->mq, &half, verdict);
    if (verdict == MQ_COMMIT) {
        log_info("paid", "pay_id=%lld order_id=%lld amount=%lld", (long long)p->pay_id,
                 (long long)p->order_id, (long long)p->amount);
        return 0;
    }
    if (rc == APP_E_REFUSED && e->code == CODE_PAY_IS_PAID)
        return 0;
    log_warn("not_settled", "pay_id=%lld txn_id=%s error=%s", (long long)p->pay_id, txn_id,
             app_log_value(e->text));
    return rc;
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
        rc = pay_repo_open(a->db, &p, &out->payment, &out->is_new, e);
    if (rc == 0 && FAILPOINT(payment_fp[FP_PAY_AFTER_OPEN]))
        rc = injected(e);
    return fail_unless_refused(rc, e, "open", order_id);
}

/* The order may have been cancelled while the provider was being told: its consumer may have found no
 * charge to close. Then it is ours to close. */
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
    pay_close_at_provider(a, now.order_id);
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
    } else if ((rc = settle(a, &out->payment, NULL, traceparent, e)) == 0) {
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
