/* Half messages, decision rows, barrier and ledger: what the product says in SQL, as assignments.
 *
 * Pure. Each function stands for one transaction: it happens as a whole or, where its caller leaves it out,
 * not at all. A row that an INSERT ... ON CONFLICT DO NOTHING finds is "not inserted"; that the insert waits
 * for an uncommitted one is the reason why transactions may be single moves here. */
#include "model/rules.h"

#include "apps/common/decision.h"

static const struct {
    const char *name, *meaning;
} rules[RULE_COUNT] = {
#define RULE(id, name_, meaning_) {name_, meaning_},
#include "model/rules.def"
#undef RULE
};

const char *rule_name(unsigned rule)
{
    return rules[rule].name;
}

const char *rule_meaning(unsigned rule)
{
    return rules[rule].meaning;
}

bool half_decide(uint8_t *half, enum mq_verdict verdict)
{
    if (*half != HALF_STORED || verdict == MQ_UNKNOWN)
        return false;
    *half = verdict == MQ_COMMIT ? HALF_COMMITTED : HALF_ROLLED_BACK;
    return verdict == MQ_COMMIT;
}

enum mq_verdict decision_row_check(uint8_t *row, const struct search *x)
{
    if (*row == DECISION_NONE && !search_has(x, RULE_DECISION_ROW))
        return MQ_ROLLBACK; /* answered, but nothing keeps the local transaction from committing */
    if (*row == DECISION_NONE)
        *row = DECISION_ROLLBACK;
    return decision_verdict_of((char)*row);
}

/* ---- participants ---- */

static uint8_t one_more(uint8_t n)
{
    return n < 2 ? (uint8_t)(n + 1) : n;
}

/* The ledger's unique key refuses a second row. */
static bool take(struct party *p, const struct search *x)
{
    if (p->taken && search_has(x, RULE_LEDGER))
        return false;
    p->taken = one_more(p->taken);
    return true;
}

static void give_back(struct party *p, const struct search *x)
{
    if (!search_has(x, RULE_LEDGER) || (p->taken && !p->given))
        p->given = one_more(p->given);
}

bool party_try(struct party *p, const struct search *x)
{
    if (!search_has(x, RULE_BARRIER))
        return take(p, x);
    const bool inserted = !p->tried;
    if (inserted)
        p->tried = 'T';
    switch (barrier_try_of(inserted, (char)p->tried)) {
    case BARRIER_RUN:
        return take(p, x);
    case BARRIER_DUPLICATE:
        return true;
    case BARRIER_REFUSED:
        break;
    }
    return false;
}

void party_cancel(struct party *p, const struct search *x)
{
    if (!search_has(x, RULE_BARRIER)) {
        give_back(p, x);
        return;
    }
    const bool tombstone = !p->tried, first = !p->cancelled;
    if (tombstone && !search_has(x, RULE_TOMBSTONE))
        return;
    if (tombstone)
        p->tried = 'C';
    p->cancelled = 1;
    if (barrier_cancel_of(tombstone, first) == BARRIER_UNDO)
        give_back(p, x);
}

const char *party_always(const struct party *p)
{
    return p->taken > 1          ? "taken twice"
           : p->given > p->taken ? "given back what was not taken"
                                 : NULL;
}
