#pragma once
/* Transactional messages: half messages, commit, rollback, check-back.
 * Source: TransactionalMessageBridge, EndTransactionProcessor, TransactionalMessageServiceImpl. */
#include "base/buf.h"
#include "proto/message.h"
#include "remoting/server.h"

struct broker;

/* Called by the send path on a network loop for a message with TRAN_MSG=true (and not reconsume_times
 * > 0 with DELAY > 0), after the broker's own properties were added and before put_start. `props`
 * holds the property string m->properties points to; both may be rewritten. Makes the half: topic
 * RMQ_SYS_TRANS_HALF_TOPIC, queue 0, transaction bits cleared, REAL_TOPIC, REAL_QID and
 * __transactionId__ added. E_DENIED: rejectTransactionMessage (16); E_TOOBIG, E_NOMEM. */
int tx_half_transform(struct broker *b, struct message *m, struct buf *props, struct err *e) HP_MUST_USE;

void on_end_transaction(struct req *r); /* code 37, any network loop */

/* Service loop. start: after recovery, before the first request. begin: the first work, when the
 * broker's own address is known (it is in every record). stop: no new work; puts in flight still
 * complete. free: after the submitters are drained; any thread. */
int tx_start(struct broker *b, struct err *e) HP_MUST_USE;
void tx_begin(struct broker *b);
/* Physical offset of the oldest half message that may be undecided; INT64_MAX: none. Service loop. */
int64_t tx_needed_from(struct broker *b);
void tx_stop(struct broker *b);
void tx_free(struct broker *b);
