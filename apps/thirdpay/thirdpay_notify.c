/* Callbacks: building, signing, delivering, repeating; and spoiling them when a switch says so.
 *
 * A callback is a form of out_trade_no, provider_txn_id, amount, currency, status, ts, nonce and sign. The
 * job takes what is due, posts it, and records the answer: 200 with SUCCESS ends it, anything else brings
 * it back after retry-ms, doubling up to retry-max-ms, attempts-max times. Duplicates are posted at the
 * same time from threads of their own, as a provider with several senders would.
 *
 * Runs on: the notify job's thread, plus up to TP_DUPLICATES_MAX short-lived ones. A merchant that does
 * not answer costs notify-ms; the lease on what was taken is longer than the whole batch may last. */
#include "apps/thirdpay/thirdpay.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apps/common/http_client.h"

enum { BATCH = 8, PARAMS = 7, FORM_SIZE = 1024 };

/* --- building --- */

/* name=value pairs with values percent-encoded, `sign` last. */
static char *encode_form(const struct sign_param *v, size_t n, const char *sign,
                         struct app_error *e)
{
    char *form = malloc(FORM_SIZE);
    size_t len = 0;
    for (size_t i = 0; form != NULL && i < n && len < FORM_SIZE; i++) {
        char *value = http_escape(v[i].value);
        len += value == NULL
                   ? FORM_SIZE
                   : (size_t)snprintf(form + len, FORM_SIZE - len, "%s=%s&", v[i].name, value);
        free(value);
    }
    if (form != NULL && len < FORM_SIZE)
        len += (size_t)snprintf(form + len, FORM_SIZE - len, "sign=%s", sign);
    if (form != NULL && len < FORM_SIZE)
        return form;
    free(form);
    (void)app_fail(e, APP_E_NOMEM, "form of a callback");
    return NULL;
}

char *tp_notify_form(const char *sign_key, const struct tp_charge *c, int64_t amount,
                     struct app_error *e)
{
    char id[ID_TEXT_MAX], cents[24], ts[24], nonce[33], sign[SIGN_HEX_MAX];
    uint64_t noise[2];
    chance_bytes(noise, sizeof noise);
    (void)snprintf(nonce, sizeof nonce, "%016" PRIx64 "%016" PRIx64, noise[0], noise[1]);
    (void)snprintf(cents, sizeof cents, "%lld", (long long)amount);
    (void)snprintf(ts, sizeof ts, "%lld", (long long)(timing_wall_ms() / 1000));
    const struct sign_param v[PARAMS] = {{"out_trade_no", id_text(c->out_trade_no, id)},
                                         {"provider_txn_id", c->txn_id},
                                         {"amount", cents},
                                         {"currency", c->currency},
                                         {"status", c->status},
                                         {"ts", ts},
                                         {"nonce", nonce}};
    return sign_params(sign_key, v, PARAMS, sign, e) != 0 ? NULL : encode_form(v, PARAMS, sign, e);
}

int64_t tp_retry_after_ms(const struct thirdpay *t, int attempt)
{
    if (attempt >= t->attempts_max)
        return -1;
    int64_t ms = t->retry_ms;
    for (int i = 1; i < attempt && ms < t->retry_max_ms; i++)
        ms *= 2;
    return ms < t->retry_max_ms ? ms : t->retry_max_ms;
}

bool tp_switch_use(_Atomic int64_t *left)
{
    int64_t n = *left;
    while (n > 0)
        if (atomic_compare_exchange_weak(left, &n, n - 1))
            return true;
    return false;
}

/* --- delivering --- */

struct post {
    const char *url, *form;
    int64_t timeout_ms;
    bool success;
    char answer[120];
};

static void *post_main(void *arg)
{
    struct post *p = arg;
    const struct http_call call = {
        .method = "POST", .url = p->url, .form = p->form, .timeout_ms = p->timeout_ms};
    struct http_answer answer;
    struct app_error e;
    if (http_do(&call, &answer, &e) != 0) {
        (void)snprintf(p->answer, sizeof p->answer, "%.110s", e.text);
        return NULL;
    }
    p->success = answer.status == 200 && strcmp(answer.body, "SUCCESS") == 0;
    (void)snprintf(p->answer, sizeof p->answer, "HTTP %d %.100s", answer.status, answer.body);
    http_answer_free(&answer);
    return NULL;
}

/* The callback itself on this thread, its copies on others; SUCCESS if any of them heard it. */
static void post_all(struct post *p, int64_t duplicates)
{
    pthread_t threads[TP_DUPLICATES_MAX];
    struct post copies[TP_DUPLICATES_MAX];
    int started = 0;
    while (started < duplicates && started < TP_DUPLICATES_MAX) {
        copies[started] = *p;
        if (pthread_create(&threads[started], NULL, post_main, &copies[started]) != 0)
            break;
        started++;
    }
    (void)post_main(p);
    for (int i = 0; i < started; i++) {
        pthread_join(threads[i], NULL);
        p->success |= copies[i].success;
    }
}

/* The charge as the callback will tell of it. */
static struct tp_charge told(struct thirdpay *t, const struct tp_charge *c)
{
    struct tp_charge x = *c;
    x.amount += tp_switch_use(&t->switches.wrong_amount);
    x.out_trade_no += tp_switch_use(&t->switches.wrong_number);
    if (tp_switch_use(&t->switches.wrong_currency))
        (void)snprintf(x.currency, sizeof x.currency, "%s",
                       strcmp(c->currency, "EUR") == 0 ? "USD" : "EUR");
    return x;
}

void tp_notify_deliver(struct thirdpay *t, const struct tp_notify *n)
{
    struct app_error e;
    const struct tp_charge charge = told(t, &n->charge);
    char *form = tp_notify_form(t->sign_key, &charge, charge.amount, &e);
    struct post p = {.url = n->charge.notify_url, .form = form, .timeout_ms = t->notify_ms};
    if (form == NULL) {
        (void)snprintf(p.answer, sizeof p.answer, "%.110s", e.text);
    } else {
        char *const last = form + strlen(form) - 1; /* of the signature */
        if (tp_switch_use(&t->switches.wrong_signature))
            *last = *last == '0' ? '1' : '0';
        post_all(&p, t->switches.duplicates);
    }
    free(form);
    log_info("notified", "out_trade_no=%lld attempt=%d success=%d answer=%s",
             (long long)n->charge.out_trade_no, n->attempt, p.success, app_log_value(p.answer));
    if (tp_notify_done(t->db, n->notify_id, p.success, p.answer,
                       p.success ? -1 : tp_retry_after_ms(t, n->attempt), &e) != 0)
        log_warn("notify_not_recorded", "notify_id=%lld error=%s", (long long)n->notify_id,
                 app_log_value(e.text));
}

int tp_notify_step(void *arg, struct app_error *e)
{
    struct thirdpay *t = arg;
    struct tp_notify due[BATCH];
    size_t n = 0;
    const int rc = tp_notify_take(t->db, BATCH * t->notify_ms + 1000, due, BATCH, &n, e);
    if (rc != 0)
        return rc;
    for (size_t i = 0; i < n; i++)
        tp_notify_deliver(t, &due[i]);
    return n == BATCH;
}
