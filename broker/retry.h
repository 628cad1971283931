#pragma once
/* Retry and dead-letter topics: consumer send-back, and sends to a retry topic that are over the limit.
 * Source: AbstractSendMessageProcessor.consumerSendMsgBack, SendMessageProcessor.handleRetryAndDLQ. */
#include "proto/command.h"
#include "proto/message.h"
#include "remoting/server.h"

struct broker;

void on_send_back(struct req *r); /* code 36, any network loop */

/* For a send to %RETRY%<group>, any network loop, no side effects. 0: store it there; 1: it belongs in
 * the dead-letter topic whose name is written to `dlq` (the send path makes sure the topic exists,
 * drops DELAY and stores it in queue 0); E_NOTFOUND: unknown group (26, text in e).
 * max_reconsume_times: the header's, -1 when absent; it counts from client version 3.4.9 on. */
int retry_divert(struct broker *b, struct slice retry_topic, int32_t reconsume_times,
                 int32_t max_reconsume_times, int32_t client_version, char dlq[MESSAGE_TOPIC_LONG_MAX + 1],
                 struct err *e) HP_MUST_USE;
