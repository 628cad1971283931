#pragma once
/* A stand-in for the third-party payment platform: charges, their capture by the payer, refunds, and
 * signed callbacks that are repeated until the merchant answers SUCCESS. It keeps its own books (schema
 * `tp`) and shares nothing with the shop but generic parts (HTTP, database, signature).
 *
 *   thirdpay_repo.c     the books
 *   thirdpay_notify.c   building, signing and delivering callbacks; the switches that spoil them
 *   thirdpay_http.c     the merchant's API, the payer's page, the switches */
#include "apps/common/app.h"

enum thirdpay_fp {
#define FAILPOINT_DEF(id, name, meaning) id,
#include "apps/thirdpay/failpoints.def"
#undef FAILPOINT_DEF
    THIRDPAY_FP_COUNT
};
extern struct failpoint thirdpay_fp[THIRDPAY_FP_COUNT];

#define TP_DUPLICATES_MAX 16
/* Misbehaviour on demand: switches.def says what each member means. */
struct tp_switches {
#define SWITCH(name, max, meaning) _Atomic int64_t name;
#include "apps/thirdpay/switches.def"
#undef SWITCH
};

struct thirdpay {
    struct db *db;
    struct ids *ids;
    const char *sign_key, *public_url; /* public_url "": the address a request came to */
    int64_t retry_ms, retry_max_ms, attempts_max, notify_ms;
    struct tp_switches switches;
};

#define TP_TXN_MAX 40
#define TP_URL_MAX 301
struct tp_charge {
    int64_t out_trade_no, amount, refunded; /* cents */
    char txn_id[TP_TXN_MAX], currency[4], status[16], notify_url[TP_URL_MAX];
    char expires_at[40]; /* RFC 3339, "" for never */
};

/* --- thirdpay_repo.c; *found false or REFUSED: see each --- */
int tp_load(struct db *db, int64_t out_trade_no, struct tp_charge *out, bool *found,
            struct app_error *e) APP_CHECK;
/* Stores the charge unless it is there; *out is what is stored. Refuses (PAY_AMOUNT) other money under
 * the same number. */
int tp_create(struct db *db, const struct tp_charge *c, struct tp_charge *out, bool *created,
              struct app_error *e) APP_CHECK;
/* OPEN -> CAPTURED with its callback, due after delay_ms (negative: never). Repeated: no effect. Refuses
 * PAY_NOT_FOUND, PAY_NOT_PAYABLE (closed, expired; not with `late`). *first: this call captured it. */
int tp_capture(struct thirdpay *t, int64_t out_trade_no, int64_t delay_ms, bool late,
               struct tp_charge *out, bool *first, struct app_error *e) APP_CHECK;
/* OPEN -> CLOSED. Repeated: no effect. Refuses PAY_NOT_FOUND, PAY_IS_PAID. */
int tp_close(struct db *db, int64_t out_trade_no, struct tp_charge *out,
             struct app_error *e) APP_CHECK;
/* Gives back the whole amount of a captured charge; key makes it repeatable. Refuses PAY_NOT_FOUND,
 * PAY_REFUND (not captured, other key, other amount). */
int tp_refund(struct db *db, int64_t out_trade_no, const char *key, int64_t amount,
              struct tp_charge *out, struct app_error *e) APP_CHECK;

struct tp_notify { /* a callback that is due */
    int64_t notify_id;
    int attempt; /* from 1 */
    struct tp_charge charge;
};
/* Takes up to max due callbacks for lease_ms: whoever else looks does not see them meanwhile. */
int tp_notify_take(struct db *db, int64_t lease_ms, struct tp_notify *out, size_t max, size_t *n,
                   struct app_error *e) APP_CHECK;
/* Records an attempt; again after retry_ms, negative: never again. */
int tp_notify_done(struct db *db, int64_t notify_id, bool delivered, const char *answer,
                   int64_t retry_ms, struct app_error *e) APP_CHECK;

/* --- thirdpay_notify.c --- */
/* The signed form of a callback over `amount`; free(). NULL: e says why. */
char *tp_notify_form(const char *sign_key, const struct tp_charge *c, int64_t amount,
                     struct app_error *e);
int64_t tp_retry_after_ms(const struct thirdpay *t,
                          int attempt);    /* negative: that was the last one */
bool tp_switch_use(_Atomic int64_t *left); /* takes one if there is one */
/* Posts a callback now and records the answer. */
void tp_notify_deliver(struct thirdpay *t, const struct tp_notify *n);
int tp_notify_step(void *arg, struct app_error *e); /* app_step */

/* --- thirdpay_http.c --- */
extern const struct http_route thirdpay_routes[];
