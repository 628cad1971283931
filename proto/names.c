/* Names of topics and groups: which are legal, which are the system's own.
 *
 * A topic becomes a directory of the consume queue, so the rule here is also what keeps every file
 * inside the data directory: no '.', no '/', no control byte passes. The texts are the ones that
 * RocketMQ's brokers answer with (code 29), because people search for them.
 *
 * Pure; any thread. Source: TopicValidator of 5.5.0. */
#include "proto/names.h"

#include "proto/message.h"

enum { GROUP_MAX = 120 };

#define LEGAL "^[%|a-zA-Z0-9_-]+$"

static bool is_blank(struct slice s)
{
    return slice_trim(s).n == 0;
}

static bool all_legal(struct slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        const char c = s.p[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              c == '%' || c == '_' || c == '-' || c == '|'))
            return false;
    }
    return true;
}

/* Cut so that the rest of the sentence fits a struct err. */
static struct slice shown(struct slice s)
{
    enum { SHOWN_MAX = 128 };
    return slice_of(s.p, s.n < SHOWN_MAX ? s.n : SHOWN_MAX);
}

int topic_name_check(struct slice topic, struct err *e)
{
    if (is_blank(topic))
        return err_set(e, E_INVAL, "The specified topic is blank.");
    if (!all_legal(topic))
        return err_set(e, E_INVAL,
                       "The specified topic: " SLICE_FMT
                       ", contains illegal characters, allowing only %s",
                       SLICE_ARG(shown(topic)), LEGAL);
    if (topic_is_retry(topic) || topic_is_dlq(topic)) {
        if (topic.n > MESSAGE_TOPIC_LONG_MAX)
            return err_set(e, E_INVAL,
                           "The specified topic is DLQ or Retry topic: " SLICE_FMT
                           ", and it's longer than topic max length: %d",
                           SLICE_ARG(shown(topic)), MESSAGE_TOPIC_LONG_MAX);
        return 0;
    }
    if (topic.n > MESSAGE_TOPIC_MAX)
        return err_set(e, E_INVAL,
                       "The specified topic: " SLICE_FMT ", is longer than topic max length: %d",
                       SLICE_ARG(shown(topic)), MESSAGE_TOPIC_MAX);
    return 0;
}

int group_name_check(struct slice group, struct err *e)
{
    if (is_blank(group))
        return err_set(e, E_INVAL, "The specified group is blank.");
    if (!all_legal(group))
        return err_set(e, E_INVAL,
                       "The specified group: " SLICE_FMT
                       ", contains illegal characters, allowing only %s",
                       SLICE_ARG(shown(group)), LEGAL);
    if (group.n > GROUP_MAX)
        return err_set(e, E_INVAL,
                       "The specified group: " SLICE_FMT ", is longer than group max length: %d",
                       SLICE_ARG(shown(group)), GROUP_MAX);
    return 0;
}

static bool one_of(struct slice s, const struct slice *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (slice_eq(s, list[i]))
            return true;
    return false;
}

/* The first of these also may not be sent to by clients. */
static const struct slice system_topics[] = {
    SLICE_LIT(TOPIC_SCHEDULE),   SLICE_LIT(TOPIC_HALF),         SLICE_LIT(TOPIC_OP),
    SLICE_LIT(TOPIC_CHECK_MAX),  SLICE_LIT(TOPIC_SELF_TEST),    SLICE_LIT(TOPIC_OFFSET_MOVED),
    SLICE_LIT(TOPIC_AUTO_CREATE), SLICE_LIT(TOPIC_BENCHMARK),   SLICE_LIT(TOPIC_TRACE),
    SLICE_LIT("CHECKPOINT_TOPIC"),
};
enum { SEND_FORBIDDEN_COUNT = 6 };

bool topic_is_system(struct slice topic)
{
    return one_of(topic, system_topics, sizeof system_topics / sizeof *system_topics) ||
           slice_starts(topic, SLICE_LIT("rmq_sys_"));
}

bool topic_send_forbidden(struct slice topic)
{
    return one_of(topic, system_topics, SEND_FORBIDDEN_COUNT);
}
