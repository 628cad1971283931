#pragma once
/* Messages: what you send (hp_message, built by you) and what you receive (hp_message_view, borrowed). */
#include "halfpenny/types.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct hp_message hp_message;

/* body is copied; an empty body is refused (brokers refuse it too). NULL when memory is out. */
HP_API hp_message *hp_message_new(const char *topic, const void *body, size_t body_len);
HP_API void hp_message_free(hp_message *m);
/* Setters: HP_E_INVALID for characters the protocol cannot carry (0x01, 0x02), reserved names, bad
 * levels; HP_E_NOMEM. */
HP_API int hp_message_set_tag(hp_message *m, const char *tag) HP_CHECK;
HP_API int hp_message_set_keys(hp_message *m, const char *keys) HP_CHECK; /* blank-separated */
HP_API int hp_message_set_property(hp_message *m, const char *name, const char *value) HP_CHECK;
HP_API int hp_message_set_delay_level(hp_message *m, int level) HP_CHECK; /* 1..18 by default; 0: none */
HP_API int hp_message_set_flag(hp_message *m, int32_t flag) HP_CHECK;
/* false: the broker answers without waiting for disk or replicas. Default true. */
HP_API int hp_message_set_wait_store_ok(hp_message *m, bool wait) HP_CHECK;

/* A received message; valid during the callback that got it. Strings are NUL-terminated copies. */
typedef struct hp_message_view hp_message_view;
HP_API const char *hp_view_topic(const hp_message_view *v); /* the original topic, also for a retry */
HP_API const void *hp_view_body(const hp_message_view *v, size_t *len); /* inflated when it was compressed */
HP_API const char *hp_view_tag(const hp_message_view *v);    /* NULL when none */
HP_API const char *hp_view_keys(const hp_message_view *v);   /* NULL when none */
HP_API const char *hp_view_property(const hp_message_view *v, const char *name); /* NULL when absent */
HP_API const char *hp_view_msg_id(const hp_message_view *v); /* UNIQ_KEY, else the offset id */
HP_API const char *hp_view_offset_msg_id(const hp_message_view *v);
HP_API const char *hp_view_broker_name(const hp_message_view *v);
HP_API int hp_view_queue_id(const hp_message_view *v);
HP_API int64_t hp_view_queue_offset(const hp_message_view *v);
HP_API int hp_view_reconsume_times(const hp_message_view *v);
HP_API int64_t hp_view_born_timestamp(const hp_message_view *v);
HP_API int64_t hp_view_store_timestamp(const hp_message_view *v);
/* A half message's transaction id (UNIQ_KEY); NULL when none. */
HP_API const char *hp_view_transaction_id(const hp_message_view *v);

#ifdef __cplusplus
}
#endif
