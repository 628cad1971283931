#pragma once
/* What an operator asks a cluster before an application moves to it. Every call waits for its answers, at most
 * timeout_ms, and asks the master of every broker of the cluster: one that is down or refuses fails the whole. */
#include "halfpenny/types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* How many queues of the topic a producer may write to, over all brokers. HP_E_NO_ROUTE: there is no such
 * topic. */
HP_API int hp_topic_queues(hp_client *c, const char *topic, int64_t timeout_ms, int *queues,
                           struct hp_error *err) HP_CHECK;
/* Makes a consumer group, with default settings, at every master that does not have it (codes 352, 200). One
 * that exists keeps its settings, except at brokers that cannot be asked about a group (before RocketMQ 5).
 * created (may be NULL): at how many. */
HP_API int hp_create_group(hp_client *c, const char *cluster, const char *group, int64_t timeout_ms,
                           int *created, struct hp_error *err) HP_CHECK;
/* How many clients are in the group now, at the broker that has most of them (code 38). */
HP_API int hp_group_members(hp_client *c, const char *cluster, const char *group, int64_t timeout_ms,
                            int *members, struct hp_error *err) HP_CHECK;
/* A key of the brokers' configuration (code 26), NUL-terminated. HP_E_BROKER: they do not tell; HP_E_STATE:
 * they do not have it or differ in it; HP_E_TOO_BIG: longer than size - 1. */
HP_API int hp_cluster_setting(hp_client *c, const char *cluster, const char *key, int64_t timeout_ms,
                              char *value, size_t size, struct hp_error *err) HP_CHECK;

#ifdef __cplusplus
}
#endif
