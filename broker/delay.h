#pragma once
/* Delay levels: delivers what lies in SCHEDULE_TOPIC_XXXX when its time has come; delayOffset.json.
 * Putting a message there is put.c's part. Source: ScheduleMessageService of 5.5.0. */
#include <stdint.h>

#include "base/err.h"

struct broker;

/* As in tx.h. */
int delay_start(struct broker *b, struct err *e) HP_MUST_USE;
void delay_begin(struct broker *b);
/* Physical offset of the oldest message that is not delivered yet; INT64_MAX: none. Service loop. */
int64_t delay_needed_from(struct broker *b);
void delay_stop(struct broker *b);
void delay_save(struct broker *b); /* the final positions; after the store was closed in order */
void delay_free(struct broker *b);
