/* mqstore: checks, shows and repairs the store directory of a stopped broker.
 *
 * Runs on: the main thread, alone. Results go to stdout, progress and errors to stderr.
 *
 * Exit codes: 0 clean (verify), done, or nothing to do; 1 damage found (verify), or it would be repaired
 * but for --yes; 2 it could not run: wrong command line, no store, a broker that runs, a full disk. */
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "mqstore/args.h"
#include "mqstore/progress.h"

enum { EXIT_DAMAGE = 1, EXIT_UNABLE = 2 };

static void on_progress(void *arg, const struct verify_progress *p)
{
    progress_show(arg, p->phase, p->done, p->total, p->bytes);
}

static int unable(struct progress *p, const struct err *e)
{
    progress_end(p);
    fprintf(stderr, "mqstore: %s\n", e->text);
    return EXIT_UNABLE;
}

static int print(struct buf *text)
{
    const bool bad = buf_error(text) || fwrite(text->p, 1, text->n, stdout) != text->n || fflush(stdout);
    if (bad)
        fprintf(stderr, "mqstore: %s\n", buf_error(text) ? "out of memory" : "the result cannot be written");
    buf_free(text);
    return bad ? EXIT_UNABLE : 0;
}

static struct verify_opts verify_opts_of(const struct args *a, struct progress *p)
{
    return (struct verify_opts){.site = a->site, .problems_max = (size_t)a->problems, .on_progress = on_progress, .arg = p};
}

static int verify(const struct args *a, struct progress *p)
{
    struct verify v;
    struct err e;
    struct buf text;
    const struct verify_opts o = verify_opts_of(a, p);
    if (verify_run(&v, &o, &e))
        return unable(p, &e);
    progress_end(p);
    buf_init(&text, 0);
    if (a->json) {
        json_t *j;
        if (verify_json(&v, &j)) {
            text.error = E_NOMEM;
        } else {
            text.error = json_write_indented(j, &text);
            buf_char(&text, '\n');
            json_decref(j);
        }
    } else {
        verify_text(&v, &text);
    }
    const int rc = print(&text);
    const bool damage = v.report.count[DAMAGE] > 0;
    verify_close(&v);
    return rc ? rc : damage ? EXIT_DAMAGE : 0;
}

static int dump(const struct args *a, struct progress *p)
{
    struct err e;
    struct dump_opts o = a->dump;
    o.site = a->site;
    o.json = a->json;
    return dump_run(&o, stdout, &e) ? unable(p, &e) : 0;
}

static int repair(const struct args *a, struct progress *p)
{
    struct err e;
    struct buf text;
    struct repair_result result;
    struct repair_opts o = a->repair;
    o.verify = verify_opts_of(a, p);
    buf_init(&text, 0);
    const int failed = repair_run(&o, &text, &result, &e);
    progress_end(p);
    const int rc = print(&text);
    if (failed)
        return unable(p, &e);
    const bool left = result.done ? result.damage_after > 0 : result.needed;
    repair_result_free(&result);
    return rc ? rc : left ? EXIT_DAMAGE : 0;
}

int main(int argc, char **argv)
{
    struct args a;
    struct progress p;
    const int rc = args_parse(argc, argv, &a);
    if (rc >= 0)
        return rc;
    progress_init(&p, a.quiet);
    switch (a.command) {
    case CMD_VERIFY: return verify(&a, &p);
    case CMD_DUMP: return dump(&a, &p);
    case CMD_REPAIR: return repair(&a, &p);
    }
    return EXIT_UNABLE;
}
