#pragma once
/* What the files of verify share. */
#include "mqstore/verify.h"

void verify_tell(struct verify *v, const char *phase, int64_t done, int64_t total);
/* Damage, or a note when a crash explains it. */
static inline enum severity unless_crashed(const struct verify *v, bool explained)
{
    return v->site.crashed && explained ? NOTE : DAMAGE;
}
/* May a record of this store time be younger than the last sync of what was derived? */
bool verify_unsynced(const struct verify *v, int64_t store_ts);

/* verify_log.c: drives the others record by record */
int verify_log(struct verify *v, struct err *e) HP_MUST_USE;

/* verify_queue.c */
int verify_queues_load(struct verify *v, struct err *e) HP_MUST_USE;
int verify_queue_record(struct verify *v, const struct message *m, struct err *e) HP_MUST_USE;
int verify_queues_rest(struct verify *v, struct err *e) HP_MUST_USE; /* after the log */
void verify_queues_free(struct verify *v);

/* verify_index.c */
int verify_index_load(struct verify *v, struct err *e) HP_MUST_USE;
int verify_index_record(struct verify *v, const struct message *m, struct err *e) HP_MUST_USE;
int verify_index_rest(struct verify *v, struct err *e) HP_MUST_USE;
void verify_index_free(struct verify *v);

/* verify_tables.c: checkpoint and config/ */
int verify_checkpoint_load(struct verify *v, struct err *e) HP_MUST_USE; /* before the log */
void verify_checkpoint(struct verify *v);                                /* after it */
int verify_topics_load(struct verify *v, struct err *e) HP_MUST_USE;     /* before the queues */
int verify_config(struct verify *v, struct err *e) HP_MUST_USE;
