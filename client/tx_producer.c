/* Transactions, the producer's side.
 *
 *   hp_send_in_transaction: half message -> local transaction (caller's thread) -> END (37, oneway)
 *   check-back: 39 from a broker -> producers_check (loop) -> check function (pool) -> END to it
 *
 * END names the half by two positions, its offset in the half queue and its physical offset, both
 * from the send result, or both from the check request: after a check the broker has rewritten the
 * half elsewhere, so the original positions would be refused. END is oneway because losing it is
 * repaired by the next check-back.
 *
 * A half that was stored with another status than SEND_OK is rolled back without running the local
 * transaction (source: DefaultMQProducerImpl.sendMessageInTransaction, 5.5.0). Without a local
 * function the caller has taken the decision upon itself, so nothing is sent for it.
 *
 * A check that cannot be served (queue full, group unknown, record unreadable) is dropped with a
 * log line: the broker asks again. */
#include <stdlib.h>

#include "client/message_priv.h"
#include "client/producer_priv.h"
#include "client/view.h"

struct end_tx {
    struct mail mail;
    struct hp_client *c;
    char broker_name[128]; /* whose master is told, when address is empty */
    char address[128];
    char *topic, *group;   /* topic may be NULL */
    char msg_id[64], transaction_id[64];
    int64_t queue_offset, phys_offset;
    enum hp_transaction_state state;
    bool from_check;
};

static void end_free(struct end_tx *x)
{
    if (!x)
        return;
    free(x->topic);
    free(x->group);
    free(x);
}

static void deliver_end(struct mail *mail)
{
    struct end_tx *x = LIST_ENTRY(mail, struct end_tx, mail);
    struct hp_client *c = x->c;
    const char *addr = x->address[0] ? x->address : broker_address(broker_of(c, x->broker_name), 0);
    const struct hdr_end_transaction hdr = {
        .topic = x->topic ? slice_str(x->topic) : SLICE_NULL,
        .producer_group = slice_str(x->group),
        .tran_state_table_offset = x->queue_offset,
        .commit_log_offset = x->phys_offset,
        .commit_or_rollback = (int32_t)x->state,
        .from_transaction_check = x->from_check,
        .msg_id = slice_str(x->msg_id),
        .transaction_id = slice_str(x->transaction_id),
    };
    const struct rpc_request q = {.address = slice_str(addr),
                                  .code = RC_END_TRANSACTION,
                                  .hdr = &hdr,
                                  .timeout_ms = c->request_timeout_ms};
    struct err e = {0};
    if (!addr)
        err_set(&e, E_NOTFOUND, "no master of broker %s is known", x->broker_name);
    if (!addr || rpc_oneway(c->rpc, &q, &e))
        CLIENT_LOG(c, HP_LOG_WARN, "end of transaction %s not sent, the broker will ask: %s",
                   x->msg_id, e.text);
    end_free(x);
}

static int post_end(struct end_tx *x)
{
    x->mail.deliver = deliver_end;
    if (loop_post(&x->c->loop, &x->mail)) {
        end_free(x);
        return HP_E_CLOSED;
    }
    return 0;
}

/* --- the sending thread --- */

static int end_half(struct hp_producer *p, const char *topic, const struct hp_send_result *half,
                    enum hp_transaction_state state, struct hp_error *err)
{
    struct host host;
    int64_t phys;
    if (offset_msg_id_parse(slice_str(half->offset_msg_id), &host, &phys))
        return error_set(err, HP_E_INVALID,
                         "offset_msg_id \"%s\" of the half message is not one of a broker",
                         half->offset_msg_id);
    struct end_tx *x = calloc(1, sizeof *x);
    if (x) {
        x->c = p->c;
        x->group = slice_dup(slice_str(p->group));
        x->topic = topic ? slice_dup(slice_str(topic)) : NULL;
    }
    if (!x || !x->group || (topic && !x->topic)) {
        end_free(x);
        return error_set(err, HP_E_NOMEM, "out of memory for the end of a transaction");
    }
    memcpy(x->broker_name, half->broker_name, sizeof x->broker_name);
    memcpy(x->msg_id, half->msg_id, sizeof x->msg_id);
    memcpy(x->transaction_id, half->transaction_id, sizeof x->transaction_id);
    x->queue_offset = half->queue_offset;
    x->phys_offset = phys;
    x->state = state;
    return post_end(x) ? error_set(err, HP_E_CLOSED, "the client is shut down") : 0;
}

static bool is_verdict(enum hp_transaction_state s)
{
    return s == HP_TX_COMMIT || s == HP_TX_ROLLBACK;
}

int hp_end_transaction(hp_producer *p, const struct hp_send_result *half,
                       enum hp_transaction_state state, struct hp_error *err)
{
    if (state == HP_TX_UNKNOWN)
        return 0;
    if (!half || !is_verdict(state))
        return error_set(err, HP_E_INVALID,
                         half ? "state %d is none of hp_transaction_state" : "half is NULL",
                         (int)state);
    return end_half(p, NULL, half, state, err);
}

int hp_send_in_transaction(hp_producer *p, const hp_message *m, hp_local_transaction_fn local,
                           void *arg, struct hp_send_result *half, enum hp_transaction_state *state,
                           struct hp_error *err)
{
    if (!p->check)
        return error_set(
            err, HP_E_STATE,
            "hp_producer_options.check is not set: brokers could not ask for the outcome");
    struct hp_send_result stored;
    const int rc = producer_send_and_wait(p, m, true, &stored, err);
    if (rc)
        return rc;
    if (half)
        *half = stored;
    enum hp_transaction_state verdict = HP_TX_UNKNOWN;
    if (local && stored.status == HP_SEND_OK)
        verdict = local(arg, m, &stored);
    else if (local)
        verdict = HP_TX_ROLLBACK;
    if (!is_verdict(verdict))
        verdict = HP_TX_UNKNOWN;
    if (state)
        *state = verdict;
    return verdict == HP_TX_UNKNOWN ? 0 : end_half(p, m->topic, &stored, verdict, err);
}

/* --- check-back --- */

struct check {
    struct job job;
    struct hp_producer *p;
    struct end_tx *end; /* filled from the request; only the verdict is missing */
    char *record;
    size_t record_n;
};

void check_drop(struct job *j)
{
    struct check *k = LIST_ENTRY(j, struct check, job);
    end_free(k->end);
    free(k->record);
    free(k);
}

static void run_check(struct job *j)
{
    struct check *k = LIST_ENTRY(j, struct check, job);
    struct hp_producer *p = k->p;
    struct message m;
    struct hp_message_view v;
    struct err e = {0};
    int rc = message_decode(slice_of(k->record, k->record_n), 0, &m, &e);
    if (!rc)
        rc = view_init(&v, &m, k->end->broker_name, 0);
    if (rc) {
        CLIENT_LOG(p->c, HP_LOG_ERROR, "check of transaction %s: the message is unreadable: %s",
                   k->end->msg_id, e.text[0] ? e.text : err_text(rc));
        check_drop(j);
        return;
    }
    const enum hp_transaction_state state = p->check(p->check_arg, &v);
    view_fini(&v);
    k->end->state = is_verdict(state) ? state : HP_TX_UNKNOWN;
    (void)(post_end(k->end) ==
           0); /* refused only when the client is going: the broker asks another */
    k->end = NULL;
    check_drop(j);
}

static struct hp_producer *producer_of(struct hp_client *c, struct slice group)
{
    LIST_FOREACH(l, &c->producers)
    {
        struct hp_producer *p = LIST_ENTRY(l, struct hp_producer, link);
        if (p->check && slice_eq_str(group, p->group))
            return p;
    }
    return NULL;
}

static void copy_id(struct slice s, char dst[64])
{
    if (slice_copy(s, dst, 64))
        dst[0] = '\0';
}

static struct end_tx *end_from(struct hp_producer *p, const struct hdr_check_transaction *h,
                               const struct message *m, const char *address)
{
    struct end_tx *x = calloc(1, sizeof *x);
    if (!x)
        return NULL;
    struct slice id = props_str_get(m->properties, PROP_UNIQ_KEY);
    if (!id.n)
        id = h->msg_id;
    x->c = p->c;
    x->from_check = true;
    x->queue_offset = h->tran_state_table_offset;
    x->phys_offset = h->commit_log_offset;
    copy_id(id, x->msg_id);
    copy_id(h->transaction_id.n ? h->transaction_id : id, x->transaction_id);
    if (slice_copy(h->broker_name, x->broker_name, sizeof x->broker_name))
        x->broker_name[0] = '\0';
    x->group = slice_dup(slice_str(p->group));
    x->topic = h->topic.n ? slice_dup(h->topic) : NULL;
    if (!x->group || (h->topic.n && !x->topic) ||
        slice_copy(slice_str(address), x->address, sizeof x->address)) {
        end_free(x);
        return NULL;
    }
    return x;
}

static int queue_check(struct hp_producer *p, const struct hdr_check_transaction *h,
                       const struct message *m, const struct rpc_push *push, struct err *e)
{
    if (pool_waiting(&p->checks) >= CHECKS_PENDING_MAX)
        return err_set(e, E_BUSY, "%d checks are waiting already", CHECKS_PENDING_MAX);
    struct check *k = calloc(1, sizeof *k);
    if (!k)
        return err_set(e, E_NOMEM, "out of memory");
    k->p = p;
    k->job.run = run_check;
    k->end = end_from(p, h, m, push->address);
    k->record = slice_dup(push->command->body);
    k->record_n = push->command->body.n;
    if (!k->end || !k->record) {
        check_drop(&k->job);
        return err_set(e, E_NOMEM, "out of memory");
    }
    pool_put(&p->checks, &k->job);
    return 0;
}

void producers_check(struct hp_client *c, const struct rpc_push *push)
{
    const struct command *cmd = push->command;
    struct hdr_check_transaction h;
    struct message m;
    struct err e = {0};
    int rc = hdr_decode(&hdr_desc_check_transaction, HDR_LONG, cmd->ext, cmd->ext_n, &h, &e);
    if (!rc)
        rc = message_decode(cmd->body, 0, &m, &e);
    if (!rc) {
        const struct slice group = props_str_get(m.properties, PROP_PGROUP);
        struct hp_producer *p = producer_of(c, group);
        rc = p ? queue_check(p, &h, &m, push, &e)
               : err_set(&e, E_NOTFOUND, "no transaction producer of group " SLICE_FMT " here",
                         SLICE_ARG(group));
    }
    if (rc)
        CLIENT_LOG(c, HP_LOG_WARN, "transaction check from %s dropped: %s", push->address, e.text);
}
