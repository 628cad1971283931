/* What the scenes share: plans, records, and the tally of messages that came back. Runs on the caller's
 * thread.
 *
 * Invariant of the tally: each stored message carries its number in the first 16 digits of its body;
 * a number that was never sent, or comes twice, is E_CORRUPT, and so is a body of another length. */
#include "bench/scene.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "bench/wire.h"

struct plan scene_plan(const struct scene *s)
{
    return (struct plan){.requests = s->messages,
                         .warm_requests = s->warmup,
                         .warm_ms = (int64_t)(s->warmup_seconds * 1000),
                         .run_ms = (int64_t)(s->seconds * 1000),
                         .deadline_ms = s->seconds_max * 1000,
                         .pid = s->pid};
}

int scene_record(const struct scene *s, const char *metric, double value, struct err *e)
{
    if (s->record == NULL)
        return 0;
    FILE *f = fopen(s->record, "ae");
    if (f == NULL)
        return err_sys(e, errno, "%s", s->record);
    fprintf(f, "%s\t%s\t%.3f\n", s->label, metric, value);
    return fclose(f) == 0 ? 0 : err_sys(e, errno, "%s", s->record);
}

int scene_record_latency(const struct scene *s, const struct hist *h, struct err *e)
{
    static const struct {
        const char *name;
        double q;
    } points[] = {{"p50_us", 0.5}, {"p99_us", 0.99}, {"p999_us", 0.999}, {"max_us", 1}};
    int rc = 0;
    for (size_t i = 0; i < sizeof points / sizeof points[0] && rc == 0; i++)
        rc = scene_record(s, points[i].name, (double)hist_quantile_ns(h, points[i].q) / 1000, e);
    return rc;
}

int tally_message(struct tally *t, const struct message *m, int64_t *seq, struct err *e)
{
    int64_t number = -1;
    if (m->body.n != t->body || slice_i64(slice_of(m->body.p, RMQ_SEQ_DIGITS), &number) != 0 ||
        number < 0 || number >= t->sent)
        return err_set(e, E_CORRUPT, "a message that was never sent: %zu bytes, number %lld",
                       m->body.n, (long long)number);
    if (t->seen[number] != 0)
        return err_set(e, E_CORRUPT, "message %lld is stored twice", (long long)number);
    t->seen[number] = 1;
    t->seen_n++;
    if (seq != NULL)
        *seq = number;
    return 0;
}

int64_t tally_lost(const struct tally *t)
{
    int64_t lost = 0;
    for (int64_t i = 0; i < t->sent; i++)
        lost += t->acked[i / t->per_mark] != 0 && t->seen[i] == 0;
    return lost;
}

int scene_starts(const struct scene *s, const struct rmq_topics *t, struct rmq_slot *slot,
                 struct err *e)
{
    if (t->topics > 1)
        return 0; /* many topics are new in every run: the tally refuses older messages */
    const int fd = wire_dial(&s->host, e);
    if (fd < 0)
        return fd;
    int rc = 0;
    for (int q = 0; q < t->queues && rc == 0; q++) {
        rc = wire_max_offset(fd, t->name, q, &slot[q].start, e);
        slot[q].offset = slot[q].start;
    }
    close(fd);
    return rc;
}
