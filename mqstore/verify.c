/* verify: the whole of it, and how its result is told.
 *
 * Owns: struct verify. Runs on: the one thread of the tool. Reads only: no file is created, written or
 * touched, but for the lock that keeps a broker from starting meanwhile.
 *
 * Order: small files that say what a crash may have cost, then names and sizes, then the log once from
 * front to end with queues and index alongside, then what of queues and index no record claimed, last the
 * tables, which need the queues' ends.
 *
 * Failure modes: damage never ends it; findings do not cost memory beyond report.max. What does: no
 * memory, a directory that cannot be listed, a running broker. */
#include "mqstore/verify.h"

#include <stdlib.h>

#include "mqstore/verify_priv.h"

void verify_tell(struct verify *v, const char *phase, int64_t done, int64_t total)
{
    if (v->o.on_progress)
        v->o.on_progress(v->o.arg, &(struct verify_progress){phase, done, total, strcmp(phase, "consume queues") != 0});
}

static int run(struct verify *v, struct err *e)
{
    int rc = verify_checkpoint_load(v, e);
    if (!rc)
        rc = verify_topics_load(v, e);
    if (!rc)
        rc = verify_queues_load(v, e);
    if (!rc)
        rc = verify_index_load(v, e);
    if (!rc)
        rc = verify_log(v, e);
    if (!rc)
        rc = verify_queues_rest(v, e);
    if (!rc)
        rc = verify_index_rest(v, e);
    if (rc)
        return rc;
    verify_checkpoint(v);
    return verify_config(v, e);
}

int verify_run(struct verify *v, const struct verify_opts *o, struct err *e)
{
    *v = (struct verify){.o = *o};
    report_init(&v->report, o->problems_max);
    int rc = site_open(&v->site, &o->site, e);
    if (rc) {
        report_fini(&v->report);
        return rc;
    }
    rc = run(v, e);
    if (rc)
        verify_close(v);
    return rc;
}

void verify_close(struct verify *v)
{
    verify_queues_free(v);
    verify_index_free(v);
    json_decref(v->cq.topics_doc);
    free(v->log.holes);
    report_fini(&v->report);
    site_close(&v->site);
    *v = (struct verify){0};
}

void verify_text(const struct verify *v, struct buf *out)
{
    const struct site *const s = &v->site;
    buf_printf(out, "store           %s\n", s->root);
    buf_printf(out, "last stop       %s\n", s->crashed ? "not orderly (`abort` is there): the next start recovers"
                                                         : "orderly");
    buf_printf(out, "commit log      %d files of %lld bytes, physical offsets %lld to %lld\n", s->log_n,
               (long long)s->log_file_size, (long long)site_log_min(s), (long long)v->log.end);
    buf_printf(out, "                %lld whole records, %lld with a checksum of the record\n", (long long)v->log.records,
               (long long)v->log.with_checksum);
    buf_printf(out, "consume queues  %lld with files of %lld bytes, %lld units, %lld of them expired\n",
               (long long)v->cq.queues, (long long)v->cq.file_size, (long long)v->cq.units, (long long)v->cq.expired);
    buf_printf(out, "index           %d files, %lld entries; %lld keys in the log\n", v->ix.files, (long long)v->ix.items,
               (long long)v->ix.keys);
    report_text(&v->report, out);
    buf_printf(out, "\n%s\n", v->report.count[DAMAGE] ? "damaged" : "no damage");
}

static json_t *log_json(const struct verify *v)
{
    const struct site *const s = &v->site;
    return json_pack("{s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I}", "files", (json_int_t)s->log_n, "fileSize",
                     (json_int_t)s->log_file_size, "minOffset", (json_int_t)site_log_min(s), "maxOffset",
                     (json_int_t)v->log.end, "records", (json_int_t)v->log.records, "recordsWithChecksum",
                     (json_int_t)v->log.with_checksum, "bytesBehindEnd", (json_int_t)v->log.dropped, "damagedPlaces",
                     (json_int_t)v->log.hole_n);
}

static json_t *kinds_json(const struct report *r)
{
    json_t *const kinds = json_object();
    for (size_t i = 0; kinds && i < PROBLEM_N; i++)
        if (r->kinds[i][DAMAGE] + r->kinds[i][NOTE] &&
            json_object_set_new(kinds, problem_name((enum problem_kind)i),
                                json_integer((json_int_t)(r->kinds[i][DAMAGE] + r->kinds[i][NOTE])))) {
            json_decref(kinds);
            return NULL;
        }
    return kinds;
}

int verify_json(const struct verify *v, json_t **out)
{
    json_t *const cq = json_pack("{s:I,s:I,s:I,s:I}", "queues", (json_int_t)v->cq.queues, "fileSize",
                                 (json_int_t)v->cq.file_size, "units", (json_int_t)v->cq.units, "expiredUnits",
                                 (json_int_t)v->cq.expired);
    json_t *const ix = json_pack("{s:I,s:I,s:I}", "files", (json_int_t)v->ix.files, "entries", (json_int_t)v->ix.items,
                                 "keysInLog", (json_int_t)v->ix.keys);
    json_t *const root = json_pack(
        "{s:s,s:b,s:b,s:I,s:I,s:o,s:o,s:o,s:o,s:o}", "store", v->site.root, "ok", !v->report.count[DAMAGE], "orderlyStop",
        !v->site.crashed, "damage", (json_int_t)v->report.count[DAMAGE], "notes", (json_int_t)v->report.count[NOTE],
        "commitLog", log_json(v), "consumeQueues", cq, "index", ix, "kinds", kinds_json(&v->report), "problems",
        report_json(&v->report));
    *out = root;
    return root ? 0 : E_NOMEM;
}
