#pragma once
/* Reserved topics and groups, permissions, and the name rules (TopicValidator, MixAll). */
#include "base/err.h"
#include "base/slice.h"

#define TOPIC_AUTO_CREATE "TBW102"
#define TOPIC_SCHEDULE "SCHEDULE_TOPIC_XXXX"
#define TOPIC_HALF "RMQ_SYS_TRANS_HALF_TOPIC"
#define TOPIC_OP "RMQ_SYS_TRANS_OP_HALF_TOPIC"
#define TOPIC_CHECK_MAX "TRANS_CHECK_MAX_TIME_TOPIC"
#define TOPIC_SELF_TEST "SELF_TEST_TOPIC"
#define TOPIC_BENCHMARK "BenchmarkTest"
#define TOPIC_OFFSET_MOVED "OFFSET_MOVED_EVENT"
#define TOPIC_TRACE "RMQ_SYS_TRACE_TOPIC"
#define RETRY_PREFIX "%RETRY%"
#define DLQ_PREFIX "%DLQ%"
#define GROUP_TRANS "CID_RMQ_SYS_TRANS"

enum { PERM_PRIORITY = 8, PERM_READ = 4, PERM_WRITE = 2, PERM_INHERIT = 1 };
enum { TOPIC_SYSFLAG_UNIT = 1, TOPIC_SYSFLAG_UNIT_SUB = 2 };

/* Letters, digits, '%', '_', '-', '|'; 1..127 bytes (255 for retry and DLQ names). This is what keeps
 * a topic inside the data directory. E_INVAL with the text that clients know. */
int topic_name_check(struct slice topic, struct err *e) HP_MUST_USE;
int group_name_check(struct slice group, struct err *e) HP_MUST_USE; /* the same letters, 1..120 */
bool topic_is_system(struct slice topic);
bool topic_send_forbidden(struct slice topic); /* clients may not send to it */
static inline bool topic_is_retry(struct slice t) { return slice_starts(t, SLICE_LIT(RETRY_PREFIX)); }
static inline bool topic_is_dlq(struct slice t) { return slice_starts(t, SLICE_LIT(DLQ_PREFIX)); }
