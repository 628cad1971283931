#pragma once
/* What both flows are made of: the rules that can be switched off, half messages, and a participant's tables.
 *
 * The flows (placing.c, paying.c and its halves) play the product's functions move by move and ask the
 * product's own pure functions what a state answers: order_sm.c, payment_sm.c, barrier.c, decision.c,
 * verdict.c. What is written here a second time is only what the product says in SQL. */
#include "apps/common/barrier.h"
#include "apps/common/mq.h"
#include "model/search.h"

enum rule {
#define RULE(id, name, meaning) RULE_##id,
#include "model/rules.def"
#undef RULE
    RULE_COUNT
};
const char *rule_name(unsigned rule);
const char *rule_meaning(unsigned rule);

/* ---- a half message at the broker ---- */

enum half { HALF_NONE, HALF_STORED, HALF_COMMITTED, HALF_ROLLED_BACK, HALF_LOST };
/* The broker takes a decision (END or check-back's answer): only the first counts.
 * true: the message is delivered now. MQ_UNKNOWN changes nothing. */
bool half_decide(uint8_t *half, enum mq_verdict verdict);

/* ---- the decision row of a transactional message (decision.c) ---- */

enum { DECISION_NONE = 0, DECISION_COMMIT = 'C', DECISION_ROLLBACK = 'R' };
/* The check's transaction: writes 'R' if nothing is there, and answers what stands there then. */
enum mq_verdict decision_row_check(uint8_t *row, const struct search *x);

/* ---- barrier rows and ledger rows of one key at one participant ---- */

struct party {
    uint8_t tried;        /* reason of the T row: 0, 'T' or 'C' */
    uint8_t cancelled;    /* the C row is there */
    uint8_t taken, given; /* ledger rows in either direction; counted up to 2 */
};
/* The transaction of a try; true: answered with success. */
bool party_try(struct party *p, const struct search *x);
/* The transaction of a cancel. */
void party_cancel(struct party *p, const struct search *x);
static inline int party_holds(const struct party *p)
{
    return p->taken - p->given;
}
/* What must never be, whatever is under way; NULL: it is not. */
const char *party_always(const struct party *p);
