#pragma once
/* From our outcomes to RocketMQ's response codes and remarks: the only such table. */
#include "broker/put.h"
#include "proto/command.h"

/* Code and remark of a put status (remark in buf, possibly empty). Source: SendMessageProcessor
 * .handlePutMessageResult of 5.5.0. */
int32_t respcode_of_put(const struct broker *b, enum put_status s, char *remark, size_t cap);
const char *
put_status_name(enum put_status s); /* "PUT_OK", "FLUSH_DISK_TIMEOUT", ... as Java spells them */
/* Code of an E_*: 29 for bad values, 16 denied, 2 busy, 14 failed or closed, 1 otherwise. */
int32_t respcode_of_err(int code);
