/* Placing an order: the compensation is armed before the first deduction.
 *
 *   1 the order gets its id
 *   2 half message order_cancel is stored      from here on the broker asks what became of the order
 *   3 the row is inserted: PENDING
 *   4 its timer is armed                       unpaid at the deadline, it is cancelled
 *   5 try stock, try coupon, try wallet        each participant takes what is asked, or refuses
 *   6 the row is confirmed                      PENDING -> CONFIRMED
 *   7 END rollback: nothing to undo             the answer is 201
 * A refusal or a failure in 4 or 5: the row is set to CANCELLING, END commit, and every participant undoes what
 * it did for this order. A crash anywhere: the check-back (order_mq.c) decides from the row.
 *
 * Rule E: an END is sent only for a status that was read from PostgreSQL. Where the outcome of a commit
 * is not known and cannot be read, nothing is sent and the client is told "in progress": the check-back
 * settles it. The same holds when the row could not be written at all: the check-back then leaves a
 * tombstone, so that a write that was only delayed can never succeed afterwards.
 *
 * Runs on: HTTP workers, blocking. */
#include "apps/order/order.h"

#include "apps/common/naive.h"

struct failpoint order_fp[ORDER_FP_COUNT] = {
#define FAILPOINT_DEF(id, name_, meaning_) [id] = {.name = name_, .meaning = meaning_},
#include "apps/order/failpoints.def"
#undef FAILPOINT_DEF
};

struct placing {
    struct order_app *a;
    struct order *o;
    const char *traceparent;
    struct mq_half half;
};

static bool needs_coupon(const struct order *o)
{
    return o->coupon_id != 0;
}

static bool needs_wallet(const struct order *o)
{
    return o->money_paid > 0;
}

/* The forward half of the saga. The undo of a step is its participant's consumer of order_cancel, which
 * reads its own ledger; so undo needs no step here, and may come before, after or instead of the try. The
 * order of the rows matters for cost alone: the likeliest refusal first. */
static const struct step {
    const char *what;
    bool (*needed)(const struct order *o); /* NULL: always */
    int (*try)(const struct order_app *a, const struct order *o, const char *traceparent,
               struct app_error *e);
    int code; /* when it fails without a refusal of its own */
    enum order_fp before, after;
} steps[] = {
    {"stock", NULL, peers_try_stock, CODE_STOCK_DEDUCT, FP_ORDER_BEFORE_STOCK,
     FP_ORDER_AFTER_STOCK},
    {"coupon", needs_coupon, peers_try_coupon, CODE_COUPON_DEDUCT, FP_ORDER_BEFORE_COUPON,
     FP_ORDER_AFTER_COUPON},
    {"wallet", needs_wallet, peers_try_wallet, CODE_BALANCE_DEDUCT, FP_ORDER_BEFORE_WALLET,
     FP_ORDER_AFTER_WALLET},
};

static int injected(struct app_error *e)
{
    return app_fail(e, APP_E_DOWN, "failpoint");
}

static int arm(struct placing *p, struct app_error *e)
{
    const struct order *o = p->o;
    const struct envelope v = order_cancel_message(o, "placing failed", 1);
    const int rc = FAILPOINT(order_fp[FP_ORDER_BEFORE_HALF])
                       ? injected(e)
                       : mq_half(p->a->mq, &v, NULL, p->a->immunity_s, p->traceparent, &p->half, e);
    if (rc == 0 && NAIVE(D7_SENT_ON_FAILURE_ONLY))
        mq_end(p->a->mq, &p->half, MQ_ROLLBACK);
    if (rc == 0)
        return 0;
    log_warn("half_failed", "order_id=%lld text=%s", (long long)o->order_id,
             app_log_value(e->text));
    return app_refuse(e, CODE_MQ_SEND, "the cancellation could not be armed; nothing was taken");
}

/* Sends the END that the status calls for and tells how the order stands. */
static enum placed settle(struct placing *p, enum order_status now)
{
    const enum mq_verdict verdict = saga_end_of(saga_verdict_of(now, false));
    p->o->status = now;
    if (verdict == MQ_UNKNOWN)
        return PLACED_OPEN;
    mq_end(p->a->mq, &p->half, verdict);
    struct app_error e = {0};
    if (verdict == MQ_COMMIT && NAIVE(D7_SENT_ON_FAILURE_ONLY) &&
        order_cancel_send(p->a, p->o->order_id, 1, p->traceparent, &e) != 0)
        log_warn("cancel_not_sent", "text=%s", app_log_value(e.text));
    return now == ORDER_CONFIRMED ? PLACED_CONFIRMED : PLACED_REFUSED;
}

/* The row's status when the answer to our own write was lost. */
static enum placed settle_by_reading(struct placing *p)
{
    struct order row = {0};
    bool found = false;
    struct app_error e = {0};
    if (repo_load(p->a->db, p->o->order_id, &row, &found, &e) != 0 || !found) {
        log_warn("verdict_unknown", "order_id=%lld text=%s", (long long)p->o->order_id,
                 app_log_value(e.text));
        return PLACED_OPEN;
    }
    return settle(p, row.status);
}

static enum placed abort_order(struct placing *p, int code, const char *what, struct app_error *e)
{
    enum order_status now = ORDER_PENDING;
    log_info("order_aborts", "order_id=%lld step=%s code=%d text=%s", (long long)p->o->order_id,
             what, code, app_log_value(e->text));
    p->o->fail_code = code;
    app_refuse(e, code, "%s", "");
    struct app_error failed = {0};
    int rc =
        FAILPOINT(order_fp[FP_ORDER_ABORT_BEFORE_CAS])
            ? injected(&failed)
            : repo_abort(p->a->db, p->o->order_id, code, what, p->a->drive.first_ms, &now, &failed);
    if (rc == 0 && FAILPOINT(order_fp[FP_ORDER_ABORT_AFTER_CAS]))
        rc = injected(&failed);
    return rc == 0 ? settle(p, now) : settle_by_reading(p);
}

static enum placed confirm_order(struct placing *p, struct app_error *e)
{
    enum order_status now = ORDER_PENDING;
    if (FAILPOINT(order_fp[FP_ORDER_BEFORE_CONFIRM])) {
        injected(e);
        return abort_order(p, CODE_ORDER_CONFIRM, "confirm", e);
    }
    const int rc = repo_confirm(p->a->db, p->o->order_id, &now, e);
    if (rc != 0)
        return app_is_unknown(rc) ? settle_by_reading(p)
                                  : abort_order(p, CODE_ORDER_CONFIRM, "confirm", e);
    if (FAILPOINT(order_fp[FP_ORDER_AFTER_CONFIRM])) {
        p->o->status = now;
        return now == ORDER_CONFIRMED ? PLACED_CONFIRMED : PLACED_OPEN;
    }
    const enum placed placed = settle(p, now);
    if (placed == PLACED_REFUSED) {
        p->o->fail_code = CODE_ORDER_CONFIRM;
        app_refuse(e, CODE_ORDER_CONFIRM, "it was cancelled meanwhile");
    }
    return placed;
}

static int arm_timer(const struct placing *p, struct app_error *e)
{
    const int rc =
        FAILPOINT(order_fp[FP_ORDER_BEFORE_TIMER])
            ? injected(e)
            : order_timer_arm(p->a, p->o->order_id, p->a->pay_deadline_ms, p->traceparent, e);
    return rc == 0 && FAILPOINT(order_fp[FP_ORDER_AFTER_TIMER]) ? injected(e) : rc;
}

static enum placed try_all(struct placing *p, struct app_error *e)
{
    if (FAILPOINT(order_fp[FP_ORDER_AFTER_INSERT])) {
        injected(e);
        return abort_order(p, CODE_ORDER_SAVE, "insert", e);
    }
    if (arm_timer(p, e) != 0)
        return abort_order(p, CODE_MQ_SEND, "timer", e);
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        const struct step *s = &steps[i];
        if (s->needed != NULL && !s->needed(p->o))
            continue;
        int rc =
            FAILPOINT(order_fp[s->before]) ? injected(e) : s->try(p->a, p->o, p->traceparent, e);
        if (rc == 0 && FAILPOINT(order_fp[s->after]))
            rc = injected(e);
        if (rc != 0)
            return abort_order(p, rc == APP_E_REFUSED ? e->code : s->code, s->what, e);
    }
    return confirm_order(p, e);
}

int saga_place(struct order_app *a, struct order *o, const char *traceparent, enum placed *out,
               struct app_error *e)
{
    struct placing p = {.a = a, .o = o, .traceparent = traceparent};
    int rc = ids_next(a->ids, &o->order_id, e);
    if (rc != 0 || (rc = arm(&p, e)) != 0)
        return rc;
    if (FAILPOINT(order_fp[FP_ORDER_AFTER_HALF]))
        return app_refuse(e, CODE_ORDER_SAVE, "%s", "");

    bool inserted = false;
    rc = repo_insert(a->db, o, a->saga_ms, a->pay_deadline_ms, &inserted, e);
    if (rc != 0 && app_is_unknown(rc)) {
        *out = PLACED_OPEN; /* nothing was sent to anybody: the check-back settles it */
        return 0;
    }
    if (rc != 0) {
        log_warn("insert_failed", "order_id=%lld text=%s", (long long)o->order_id,
                 app_log_value(e->text));
        return app_refuse(e, CODE_ORDER_SAVE, "%s", "");
    }
    if (!inserted) { /* a twin has the key, or the check-back was here first */
        mq_end(a->mq, &p.half, MQ_ROLLBACK);
        return app_refuse(e, CODE_ORDER_SAVE, "%s", "");
    }
    *out = try_all(&p, e);
    if (FAILPOINT(order_fp[FP_ORDER_BEFORE_REPLY]))
        *out = PLACED_OPEN;
    return 0;
}
