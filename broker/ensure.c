/* Topics and groups that a request needs.
 *
 * Runs on: the request's loop (ensure_then, ensured), the service loop (create).
 *
 * The names are copied into the request's arena together with the job, then the request's input is
 * made its own, so that the handler can start over later. Every topic and group that already exists
 * by the time the job runs is left alone: of a burst of sends to a new topic the first makes it.
 *
 * Order. A send that comes while the topic is already there, but the send that made it is still on its
 * way back, would overtake it. So a send that waits for its topic opens a line for its connection and
 * topic, and later ones queue in it until that one was handled. */
#include "broker/ensure.h"

#include <stdlib.h>

#include "base/log.h"
#include "broker/broker.h"
#include "broker/group.h"
#include "broker/respcode.h"
#include "broker/service.h"

struct ensure_job {
    struct service_job job;
    struct topic_spec *topics;
    size_t topic_n;
    struct slice *groups;
    size_t group_n;
    bool lenient;
    void (*again)(struct req *r);
    struct line *line; /* NULL: it keeps no place */
};

struct line { /* the loop's; lives while a send of it is on its way */
    struct list link;
    struct conn *conn; /* counted */
    struct list waiting;
    int underway;  /* sends whose topic is being made */
    bool handling; /* one of the line is being handled: it is not behind itself */
    struct slice topic;
    char name[];
};

struct waiter { /* in its request's arena */
    struct list link;
    struct req *req;
    void (*again)(struct req *r);
};

static struct line *line_find(struct req *r, struct slice topic)
{
    LIST_FOREACH(l, &req_net(r)->lines) {
        struct line *line = LIST_ENTRY(l, struct line, link);
        if (line->conn == req_conn(r) && slice_eq(line->topic, topic))
            return line;
    }
    return NULL;
}

static struct line *line_open(struct req *r, struct slice topic)
{
    struct line *line = line_find(r, topic);
    if (line)
        return line;
    line = calloc(1, sizeof *line + topic.n);
    if (!line)
        return NULL;
    memcpy(line->name, topic.p, topic.n);
    line->topic = slice_of(line->name, topic.n);
    line->conn = req_conn(r);
    conn_ref(line->conn);
    list_init(&line->waiting);
    list_push_back(&req_net(r)->lines, &line->link);
    return line;
}

/* Handles what waits, until one of them has to wait for the topic again. */
static void line_move(struct line *line)
{
    while (!line->underway && !list_empty(&line->waiting)) {
        struct waiter *w = LIST_ENTRY(list_pop_front(&line->waiting), struct waiter, link);
        line->handling = true;
        w->again(w->req);
        line->handling = false;
    }
    if (line->underway)
        return;
    list_remove(&line->link);
    conn_unref(line->conn);
    free(line);
}

bool ensure_behind(struct req *r, struct slice topic, void (*again)(struct req *r))
{
    struct line *line = list_empty(&req_net(r)->lines) ? NULL : line_find(r, topic);
    if (!line || line->handling)
        return false;
    struct waiter *w = req_alloc(r, sizeof *w);
    if (!w || req_own_input(r) != 0) {
        req_replyf(r, RESP_SYSTEM_ERROR, "the broker is out of memory");
        return true;
    }
    *w = (struct waiter){.req = r, .again = again};
    list_push_back(&line->waiting, &w->link);
    return true;
}


static int create_topic(struct broker *b, const struct topic_spec *s, struct err *e)
{
    struct topic_info have;
    if (topics_get(b->topics, s->name, &have))
        return 0;
    int rc = topics_put(b->topics, s, b->clock, NULL, e);
    if (rc == 0)
        LOGI("topic.created", "topic=" SLICE_FMT " queues=%d perm=%d", SLICE_ARG(s->name),
             s->info.write_queue_nums, s->info.perm);
    return rc;
}

static void fail(struct ensure_job *j, int rc, const struct err *e)
{
    if (j->lenient) {
        LOGW("ensure.skipped", "reason=\"%s\"", e->text);
        return;
    }
    j->job.rc = rc;
    j->job.err = *e;
}

static void create(struct broker *b, struct service_job *sj)
{
    struct ensure_job *j = LIST_ENTRY(sj, struct ensure_job, job);
    struct err e;
    for (size_t i = 0; i < j->group_n && sj->rc == 0; i++) {
        int rc = groups_create(b->groups, j->groups[i], b->clock, &e);
        if (rc != 0)
            fail(j, rc, &e);
    }
    for (size_t i = 0; i < j->topic_n && sj->rc == 0; i++) {
        int rc = create_topic(b, &j->topics[i], &e);
        if (rc != 0)
            fail(j, rc, &e);
    }
}

static void ensured(struct service_job *sj)
{
    struct ensure_job *j = LIST_ENTRY(sj, struct ensure_job, job);
    struct line *const line = j->line; /* the job ends with its request */
    const bool nested = line && line->handling; /* failed at once, below line_move */
    if (line)
        line->handling = true;
    if (sj->rc != 0)
        req_replyf(sj->req, respcode_of_err(sj->rc), "%s", sj->err.text);
    else
        j->again(sj->req);
    if (!line)
        return;
    line->handling = nested;
    line->underway--;
    if (!nested)
        line_move(line);
}

static bool copy_name(struct req *r, struct slice *name)
{
    char *p = req_alloc(r, name->n + 1);
    if (!p)
        return false;
    memcpy(p, name->p, name->n);
    name->p = p;
    return true;
}

static struct ensure_job *job_new(struct req *r, const struct ensure *what)
{
    struct ensure_job *j = req_alloc(r, sizeof *j);
    struct topic_spec *topics = req_alloc(r, (what->topic_n + 1) * sizeof *topics);
    struct slice *groups = req_alloc(r, (what->group_n + 1) * sizeof *groups);
    if (!j || !topics || !groups)
        return NULL;
    bool ok = true;
    for (size_t i = 0; i < what->topic_n; i++) {
        topics[i] = what->topics[i];
        ok = ok && copy_name(r, &topics[i].name);
    }
    for (size_t i = 0; i < what->group_n; i++) {
        groups[i] = what->groups[i];
        ok = ok && copy_name(r, &groups[i]);
    }
    *j = (struct ensure_job){.job = {.work = create, .then = ensured,
                                     .may_be_unsaved = what->lenient || what->topic_n == 0},
                             .topics = topics, .topic_n = what->topic_n,
                             .groups = groups, .group_n = what->group_n,
                             .lenient = what->lenient};
    return ok ? j : NULL;
}

static void submit(struct req *r, const struct ensure *what, bool in_line, void (*again)(struct req *r))
{
    struct ensure_job *j = job_new(r, what);
    if (j && req_own_input(r) != 0)
        j = NULL;
    if (j && in_line && !(j->line = line_open(r, j->topics[0].name)))
        j = NULL;
    if (j)
        j->again = again;
    if (j && j->line)
        j->line->underway++;
    service_submit(r, j ? &j->job : NULL);
}

void ensure_then(struct req *r, const struct ensure *what, void (*again)(struct req *r))
{
    submit(r, what, false, again);
}

void ensure_topic_then(struct req *r, const struct ensure *what, void (*again)(struct req *r))
{
    submit(r, what, true, again);
}
