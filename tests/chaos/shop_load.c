/* A steady stream of customers for a shop that is being broken, and the journal of what they were told.
 *
 * Customer i sets off at i / rate seconds, whatever has become of those before it. All it decides follows
 * from (seed, i): who it is, what it buys, by wallet or coupon, and what it does with its order:
 *
 *   pays        creates a payment and pays it
 *   pays twice  gets its first payment closed at the provider and a second one from the shop, and pays both
 *   cancels     by the shop's API
 *   regrets     creates a payment, cancels the order, and pays all the same: the money must come back
 *   forgets     never pays: the timer cancels
 *   is late     creates a payment and pays it after the deadline
 *
 * A request without an answer, or with one that says "later" (202, 429, 5xx), is repeated with the same key
 * until patience is over. Each answer is a line of the journal, written when it comes:
 *
 *   place   KEY     status code ORDER_ID      status 0: no answer
 *   cancel  ORDER   status code -
 *   open    ORDER   status code PAY_ID
 *   pay     PAY_ID  status code -             by the payer, to the provider
 *   close   PAY_ID  status code -
 *
 * with tabs between. Whoever judges compares it with the books when all is at rest (storm.sh).
 *
 * Runs on: --workers threads, each with one customer at a time; a worker that is late starts its next one at
 * once, so a shop that hangs is not buried. SIGTERM: no more customers; those under way finish, at most a
 * patience and a deadline later. Nothing is shared but the next number, the totals and the journal's
 * descriptor (O_APPEND: a line is one write).
 */
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "apps/common/app.h"
#include "apps/common/http_client.h"
#include "base/rng.h"

enum {
    KEY_SIZE = 37,
    ID_SIZE = 24,
    URL_SIZE = 512,
    LINES_MAX = 3,
    CALL_MS = 10000,
    PAUSE_MS = 200,
    THREADS_MAX = 256
};

enum deed { PAYS, PAYS_TWICE, CANCELS, REGRETS, FORGETS, IS_LATE, DEED_COUNT };
static const struct {
    const char *name;
    uint64_t percent;
} deeds[DEED_COUNT] = {{"pay", 55},   {"pay twice", 5}, {"cancel", 12},
                       {"regret", 5}, {"forget", 18},   {"pay late", 5}};

static const struct app_option options[] = {
    {"order", APP_TEXT, NULL, 1, 200, "base URL of the order service", true},
    {"payment", APP_TEXT, NULL, 1, 200, "base URL of the payment service", true},
    {"journal", APP_TEXT, NULL, 1, 500, "file that the answers are appended to", true},
    {"seed", APP_INT, "1", 0, INT64_MAX, "of everything that is chosen", false},
    {"rate", APP_INT, "20", 1, 100000, "customers a second", false},
    {"workers", APP_INT, "48", 1, THREADS_MAX, "customers at the same time at most", false},
    {"patience-ms", APP_INT, "20000", 100, 600000, "how long a customer repeats a request", false},
    {"late-ms", APP_INT, "7000", 0, 600000, "when late ones pay: after the payment was created",
     false},
    {"first-user", APP_INT, "3001", 1, INT32_MAX, "first of the users", false},
    {"users", APP_INT, "50", 1, 1000000, "number of users", false},
    {"first-goods", APP_INT, "3001", 1, INT32_MAX, "first of the goods", false},
    {"goods", APP_INT, "20", LINES_MAX, 1000000, "number of goods", false},
    {"price", APP_INT, "3000", 1, 1000000, "of each, cents", false},
    {"first-coupon", APP_INT, "100001", 1, INT32_MAX,
     "first of the coupons: customer i has coupon first + i, if it uses one, of user first-user + i modulo users",
     false},
    {"coupons", APP_INT, "0", 0, 10000000, "number of coupons", false},
    {NULL, APP_TEXT, NULL, 0, 0, NULL, false},
};

struct load {
    const char *order, *payment;
    uint64_t seed;
    int64_t rate, patience_ms, late_ms, first_user, users, first_goods, goods, price, first_coupon,
        coupons;
    int64_t begun_ms;
    int journal;
    _Atomic uint64_t next, confirmed, refused, given_up, done[DEED_COUNT];
};

static volatile sig_atomic_t stopping;

static void on_signal(int signal)
{
    (void)signal;
    stopping = 1;
}

struct customer {
    struct load *l;
    struct rng rng;
    uint64_t number;
    int64_t user;
    enum deed deed;
    char key[KEY_SIZE], order_id[ID_SIZE];
};

/* --- asking --- */

static void write_journal(const struct load *l, const char *what, const char *subject, int status,
                          int code, const char *result)
{
    char line[256];
    const int n =
        snprintf(line, sizeof line, "%s\t%s\t%d\t%d\t%s\n", what, subject, status, code, result);
    if (n < 0 || n >= (int)sizeof line || write(l->journal, line, (size_t)n) != n) {
        fprintf(stderr, "shop_load: the journal cannot be written\n");
        exit(1); /* a missing line would be a false witness */
    }
}

static void new_key(struct rng *rng, char key[KEY_SIZE])
{
    const uint64_t a = rng_u64(rng), b = rng_u64(rng);
    (void)snprintf(key, KEY_SIZE, "%08" PRIx32 "-%04x-4%03x-8%03x-%012" PRIx64, (uint32_t)(a >> 32),
                   (unsigned)(a >> 16 & 0xffff), (unsigned)(a & 0xfff), (unsigned)(b >> 52),
                   b & UINT64_C(0xffffffffffff));
}

static void copy_member(const json_t *data, const char *name, char *out, size_t size)
{
    const char *const text = json_string_value(json_object_get(data, name));
    (void)snprintf(out, size, "%s", text != NULL ? text : "-");
}

struct question {
    const char *what, *subject; /* of its line in the journal */
    const char *url, *key;      /* key NULL: a new one for each */
    const json_t *json;
    const char *id, *link; /* members of the answer, or NULL */
};
struct reply {
    int status, code;
    char id[ID_SIZE], link[URL_SIZE];
};

static void ask_once(const struct load *l, const struct question *q, struct reply *out)
{
    const struct http_call call = {.method = "POST",
                                   .url = q->url,
                                   .json = q->json,
                                   .idempotency_key = q->key,
                                   .timeout_ms = CALL_MS};
    struct http_answer answer = {0};
    struct app_error e = {0};
    *out = (struct reply){.id = "-"};
    if (http_do(&call, &answer, &e) == 0) {
        out->status = answer.status;
        out->code = answer.code;
        if (q->id != NULL)
            copy_member(answer.data, q->id, out->id, sizeof out->id);
        if (q->link != NULL)
            copy_member(answer.data, q->link, out->link, sizeof out->link);
        http_answer_free(&answer);
    }
    write_journal(l, q->what, q->subject, out->status, out->code, out->id);
}

static bool is_open(int status)
{
    return status == 0 || status == 202 || status == 429 || status >= 500;
}

/* Asks until the answer is final or patience is over; 202 is final where the caller says so. */
static struct reply ask(const struct load *l, const struct question *q, bool accepted_is_final)
{
    const int64_t until = timing_mono_ms() + l->patience_ms;
    struct reply r;
    for (int64_t pause = PAUSE_MS;; pause = pause < 2000 ? pause * 2 : pause) {
        ask_once(l, q, &r);
        if (!is_open(r.status) || (accepted_is_final && r.status == 202) ||
            timing_mono_ms() + pause > until)
            return r;
        timing_sleep_ms(pause);
    }
}

/* --- what a customer does --- */

static json_t *choose_lines(struct customer *c, int64_t *amount)
{
    const struct load *l = c->l;
    json_t *const items = json_array();
    const int n = 1 + (int)rng_below(&c->rng, LINES_MAX);
    const int64_t first = (int64_t)rng_below(&c->rng, (uint64_t)l->goods);
    for (int i = 0; i < n; i++) { /* goods next to each other, so that no line comes twice */
        char id[ID_SIZE];
        const int64_t qty = 1 + (int64_t)rng_below(&c->rng, 3);
        (void)snprintf(id, sizeof id, "%" PRId64, l->first_goods + (first + i) % l->goods);
        json_array_append_new(items,
                              json_pack("{s:s, s:I, s:I}", "goods_id", id, "qty", (json_int_t)qty,
                                        "goods_price", (json_int_t)l->price));
        *amount += qty * l->price;
    }
    return items;
}

static json_t *choose_order(struct customer *c)
{
    const struct load *l = c->l;
    char user[ID_SIZE], coupon[ID_SIZE];
    int64_t amount = 0;
    json_t *const items = choose_lines(c, &amount);
    const int64_t fee = amount <= 10000 ? 1000 : 0;
    const int64_t wallet = rng_below(&c->rng, 2) == 0 ? 0 : 100 + (int64_t)rng_below(&c->rng, 1000);
    const bool with_coupon = c->number < (uint64_t)l->coupons && rng_below(&c->rng, 3) == 0;
    (void)snprintf(user, sizeof user, "%" PRId64, c->user);
    (void)snprintf(coupon, sizeof coupon, "%" PRId64, l->first_coupon + (int64_t)c->number);
    return json_pack("{s:s, s:o, s:I, s:I, s:I, s:s, s:s, s:s*}", "user_id", user, "items", items,
                     "money_paid", (json_int_t)wallet, "shipping_fee", (json_int_t)fee,
                     "order_amount", (json_int_t)(amount + fee), "address", "1 Main Street",
                     "consignee", "A. Buyer", "coupon_id", with_coupon ? coupon : NULL);
}

/* true: confirmed. */
static bool place(struct customer *c)
{
    char url[URL_SIZE];
    (void)snprintf(url, sizeof url, "%s/v1/orders", c->l->order);
    json_t *const body = choose_order(c);
    const struct question q = {.what = "place",
                               .subject = c->key,
                               .url = url,
                               .key = c->key,
                               .json = body,
                               .id = "order_id"};
    const struct reply r = ask(c->l, &q, false);
    json_decref(body);
    (void)snprintf(c->order_id, sizeof c->order_id, "%s", r.id);
    if (r.status == 201)
        c->l->confirmed++;
    else if (is_open(r.status))
        c->l->given_up++;
    else
        c->l->refused++;
    return r.status == 201;
}

static void cancel(struct customer *c)
{
    char url[URL_SIZE], user[ID_SIZE], key[KEY_SIZE];
    new_key(&c->rng, key);
    (void)snprintf(url, sizeof url, "%s/v1/orders/%s/cancel", c->l->order, c->order_id);
    (void)snprintf(user, sizeof user, "%" PRId64, c->user);
    json_t *const body = json_pack("{s:s}", "user_id", user);
    (void)ask(c->l,
              &(struct question){
                  .what = "cancel", .subject = c->order_id, .url = url, .key = key, .json = body},
              true);
    json_decref(body);
}

/* Creates a payment; false when there is none to be paid. */
static bool open_payment(struct customer *c, struct reply *out)
{
    char url[URL_SIZE], key[KEY_SIZE];
    new_key(&c->rng, key);
    (void)snprintf(url, sizeof url, "%s/v1/payments", c->l->payment);
    json_t *const body = json_pack("{s:s, s:s}", "order_id", c->order_id, "channel", "thirdpay");
    *out = ask(c->l,
               &(struct question){.what = "open",
                                  .subject = c->order_id,
                                  .url = url,
                                  .key = key,
                                  .json = body,
                                  .id = "pay_id",
                                  .link = "provider_url"},
               false);
    json_decref(body);
    return (out->status == 200 || out->status == 201) && strncmp(out->link, "http", 4) == 0;
}

static void pay(const struct customer *c, const struct reply *payment)
{
    (void)ask(c->l, &(struct question){.what = "pay", .subject = payment->id, .url = payment->link},
              false);
}

/* Closes the payment at the provider and asks the shop until it has noticed and makes another. */
static bool open_another(struct customer *c, const struct reply *first, struct reply *out)
{
    char url[URL_SIZE];
    const char *const page = strstr(first->link, "/pay/");
    if (page == NULL)
        return false;
    (void)snprintf(url, sizeof url, "%.*s/v1/charges/%s/close", (int)(page - first->link),
                   first->link, first->id);
    (void)ask(c->l, &(struct question){.what = "close", .subject = first->id, .url = url}, false);
    for (const int64_t until = timing_mono_ms() + c->l->patience_ms; timing_mono_ms() < until;) {
        if (!open_payment(c, out))
            return false;
        if (strcmp(out->id, first->id) != 0)
            return true;
        timing_sleep_ms(PAUSE_MS);
    }
    return false;
}

static void act(struct customer *c)
{
    struct reply first, second;
    if (c->deed == CANCELS)
        cancel(c);
    if (c->deed == CANCELS || c->deed == FORGETS || !open_payment(c, &first))
        return;
    if (c->deed == REGRETS)
        cancel(c);
    if (c->deed == IS_LATE)
        timing_sleep_ms(c->l->late_ms);
    if (c->deed == PAYS_TWICE && open_another(c, &first, &second))
        pay(c, &second);
    pay(c, &first);
}

static enum deed choose_deed(struct rng *rng)
{
    uint64_t n = rng_below(rng, 100);
    enum deed d = PAYS;
    while (d + 1 < DEED_COUNT && n >= deeds[d].percent)
        n -= deeds[d++].percent;
    return d;
}

static void be_customer(struct load *l, uint64_t number)
{
    struct customer c = {.l = l, .number = number};
    rng_seed(&c.rng, l->seed ^ number * UINT64_C(0x9e3779b97f4a7c15));
    c.user = l->first_user + (int64_t)(number % (uint64_t)l->users);
    c.deed = choose_deed(&c.rng);
    new_key(&c.rng, c.key);
    if (place(&c)) {
        act(&c);
        l->done[c.deed]++;
    }
}

static void *work(void *arg)
{
    struct load *l = arg;
    while (!stopping) {
        const uint64_t number = l->next++;
        const int64_t at = l->begun_ms + (int64_t)(number * 1000 / (uint64_t)l->rate);
        while (!stopping && timing_mono_ms() < at)
            timing_sleep_ms(at - timing_mono_ms() < 50 ? 1 : 50);
        if (!stopping)
            be_customer(l, number);
    }
    return NULL;
}

static int start(const struct app *s, struct load *l)
{
    *l = (struct load){.order = app_text(s, "order"),
                       .payment = app_text(s, "payment"),
                       .seed = (uint64_t)app_int(s, "seed"),
                       .rate = app_int(s, "rate"),
                       .patience_ms = app_int(s, "patience-ms"),
                       .late_ms = app_int(s, "late-ms"),
                       .first_user = app_int(s, "first-user"),
                       .users = app_int(s, "users"),
                       .first_goods = app_int(s, "first-goods"),
                       .goods = app_int(s, "goods"),
                       .price = app_int(s, "price"),
                       .first_coupon = app_int(s, "first-coupon"),
                       .coupons = app_int(s, "coupons"),
                       .begun_ms = timing_mono_ms()};
    l->journal = open(app_text(s, "journal"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (l->journal < 0)
        fprintf(stderr, "shop_load: %s cannot be opened\n", app_text(s, "journal"));
    return l->journal < 0 ? 1 : 0;
}

static int run(const struct app *s)
{
    static struct load l;
    pthread_t threads[THREADS_MAX];
    const struct sigaction stop = {.sa_handler = on_signal};
    if (start(s, &l) != 0)
        return 1;
    sigaction(SIGTERM, &stop, NULL);
    sigaction(SIGINT, &stop, NULL);
    int n = 0;
    while (n < (int)app_int(s, "workers") && pthread_create(&threads[n], NULL, work, &l) == 0)
        n++;
    for (int i = 0; i < n; i++)
        pthread_join(threads[i], NULL);
    close(l.journal);
    printf("%" PRIu64 " orders confirmed, %" PRIu64 " refused, %" PRIu64 " given up;", l.confirmed,
           l.refused, l.given_up);
    for (int d = 0; d < DEED_COUNT; d++)
        printf(" %s %" PRIu64 "%s", deeds[d].name, l.done[d], d + 1 < DEED_COUNT ? "," : "\n");
    return n > 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    const struct app_option *const tables[] = {options};
    struct app *s;
    struct app_error e = {0};
    if (app_settings(tables, 1, argc, argv, NULL, &s, &e) != 0) {
        fprintf(stderr, "shop_load: %s\n", e.text);
        return 2;
    }
    int rc = 0;
    if (app_wants_help(s))
        app_print_help(s, "shop_load", "customers for a shop that is being broken");
    else
        rc = run(s);
    app_settings_free(s);
    return rc;
}
