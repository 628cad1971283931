/* The findings of one verify.
 *
 * Owns: copies of the problems it keeps: the first `max` of each severity, so that a store with a million
 * wrong units costs no more memory than one with twenty.
 * Runs on: the one thread of the tool. */
#include "mqstore/report.h"

#include <stdio.h>
#include <stdlib.h>

static const struct {
    const char *name, *advice;
} kinds[] = {
#define PROBLEM(id, name, advice) [id] = {name, advice},
#include "mqstore/problems.def"
#undef PROBLEM
};

const char *problem_name(enum problem_kind k) { return kinds[k].name; }
const char *problem_advice(enum problem_kind k) { return kinds[k].advice; }

void report_init(struct report *r, size_t max)
{
    *r = (struct report){.max = max};
}

void report_fini(struct report *r)
{
    for (size_t i = 0; i < r->n; i++) {
        free(r->list[i].file);
        free(r->list[i].text);
    }
    free(r->list);
    *r = (struct report){0};
}

/* Names found on a disk may hold anything: terminals and JSON get printable ASCII. */
static char *printable(const char *text)
{
    char *const copy = slice_dup(slice_str(text));
    for (char *p = copy; p && *p; p++)
        if (*p < 0x20 || *p > 0x7E)
            *p = '?';
    return copy;
}

static struct problem *room(struct report *r)
{
    if (r->n == r->cap) {
        const size_t cap = r->cap ? r->cap * 2 : 32;
        struct problem *const list = realloc(r->list, cap * sizeof *list);
        if (!list)
            return NULL;
        r->list = list;
        r->cap = cap;
    }
    return &r->list[r->n];
}

void report_add(struct report *r, enum severity s, enum problem_kind k, const char *file, int64_t offset,
                const char *fmt, ...)
{
    r->count[s]++;
    r->kinds[k][s]++;
    if (r->kept[s] >= r->max)
        return;
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    struct problem *const p = room(r);
    char *const copy = p ? printable(text) : NULL;
    char *const path = copy && file ? printable(file) : NULL;
    if (!copy || (file && !path)) {
        free(copy);
        r->short_of_memory = true;
        return;
    }
    *p = (struct problem){s, k, path, offset, copy};
    r->n++;
    r->kept[s]++;
}

static void problem_text(const struct problem *p, struct buf *out)
{
    buf_printf(out, "  %-20s ", problem_name(p->kind));
    if (p->file)
        buf_printf(out, "%s", p->file);
    if (p->file && p->offset >= 0)
        buf_printf(out, " byte %lld", (long long)p->offset);
    buf_printf(out, "%s%s\n", p->file ? ": " : "", p->text);
}

/* The problems of one severity, and what can be done about each kind of them, once. */
static void severity_text(const struct report *r, enum severity s, const char *title, struct buf *out)
{
    bool told[PROBLEM_N] = {false};
    if (!r->count[s])
        return;
    buf_printf(out, "\n%s: %llu%s\n", title, (unsigned long long)r->count[s],
               r->count[s] > r->kept[s] ? " (the first ones follow)" : "");
    for (size_t i = 0; i < r->n; i++)
        if (r->list[i].severity == s)
            problem_text(&r->list[i], out);
    for (size_t i = 0; i < r->n; i++) {
        const enum problem_kind k = r->list[i].kind;
        if (r->list[i].severity == s && !told[k])
            buf_printf(out, "  what to do about %s (%llu): %s\n", problem_name(k),
                       (unsigned long long)r->kinds[k][s], problem_advice(k));
        told[k] |= r->list[i].severity == s;
    }
}

void report_text(const struct report *r, struct buf *out)
{
    severity_text(r, DAMAGE, "damage", out);
    severity_text(r, NOTE, "notes", out);
}

json_t *report_json(const struct report *r)
{
    json_t *const list = json_array();
    bool bad = !list;
    for (size_t i = 0; i < r->n && !bad; i++) {
        const struct problem *const p = &r->list[i];
        json_t *const one = json_pack("{s:s,s:s,s:s,s:s}", "severity", p->severity == DAMAGE ? "damage" : "note",
                                      "kind", problem_name(p->kind), "text", p->text, "advice",
                                      problem_advice(p->kind));
        if (one && p->file)
            bad |= json_object_set_new(one, "file", json_string(p->file)) != 0;
        if (one && p->offset >= 0)
            bad |= json_object_set_new(one, "offset", json_integer(p->offset)) != 0;
        bad |= !one || json_array_append_new(list, one);
    }
    if (bad)
        json_decref(list);
    return bad ? NULL : list;
}
