#pragma once
/* A client and its scripted servers, for the tests of this folder. */
#include "tests/support/test.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "halfpenny/halfpenny.h"
#include "proto/command.h"
#include "tests/support/fake_broker.h"
#include "tests/support/wait.h"

enum { DEADLINE_MS = 20000 };

static inline void quiet(void *arg, enum hp_log_level level, const char *line)
{
    (void)arg;
    (void)level;
    (void)line;
}

static inline hp_client *new_client_beating(const struct fake *f, const char *instance,
                                            int64_t heartbeat_ms)
{
    hp_client *c = NULL;
    struct hp_error err = {0};
    const struct hp_client_options o = {.namesrv_addr = fake_namesrv(f),
                                        .instance_name = instance,
                                        .route_refresh_ms = 300,
                                        .heartbeat_ms = heartbeat_ms,
                                        .request_timeout_ms = 1500,
                                        .log = getenv("CLIENT_TEST_LOG") ? NULL : quiet};
    if (hp_client_new(&o, &c, &err))
        fail_msg("client: %s", err.text);
    return c;
}

static inline hp_client *new_client(const struct fake *f, const char *instance)
{
    return new_client_beating(f, instance, 1000);
}

static inline hp_producer *new_producer(hp_client *c, struct hp_producer_options o)
{
    hp_producer *p = NULL;
    struct hp_error err = {0};
    o.group = o.group ? o.group : "PG";
    if (hp_producer_new(c, &o, &p, &err))
        fail_msg("producer: %s", err.text);
    return p;
}

static inline int send_text(hp_producer *p, const char *topic, const char *body,
                            struct hp_send_result *res, struct hp_error *err)
{
    hp_message *m = hp_message_new(topic, body, strlen(body));
    assert_non_null(m);
    const int rc = hp_send(p, m, res, err);
    hp_message_free(m);
    return rc;
}

/* Waits until a broker has seen at least n requests of a code. */
struct seen {
    struct fake *f;
    int broker, code, n;
};
static inline bool has_seen(void *arg)
{
    const struct seen *s = arg;
    return fake_seen(s->f, s->broker, s->code) >= s->n;
}
static inline void await_seen(struct fake *f, int broker, int code, int n)
{
    if (!wait_until(has_seen, &(struct seen){f, broker, code, n}, DEADLINE_MS))
        fail_msg("%d requests of code %d seen, not %d", fake_seen(f, broker, code), code, n);
}

static inline void assert_field(struct fake *f, int broker, int code, int nth, const char *key,
                                const char *want)
{
    char *got = fake_field(f, broker, code, nth, key);
    if (!got)
        fail_msg("request %d of code %d has no field %s", nth, code, key);
    assert_string_equal(got, want);
    free(got);
}
