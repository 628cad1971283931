/* mqreport --results FILE [--reasons FILE] [--json FILE]: the table of a benchmark run.
 *
 * One line for each row that was measured: medians, the spread of ours, ratios to Apache and to the
 * limit program; below it each gate with what was reached. A server without a figure shows "-" and its
 * reason is listed at the end. Exits 0 whether gates are met or not: it reports; 1 when it cannot. */
#include <errno.h>
#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "bench/gates.h"

enum { TITLE_WIDTH = 45, CELL = 12 };
static const char *const peers[] = {"ours", "apache",     "limit", "redis",
                                    "nats", "beanstalkd", "one"};

static int read_file(const char *path, struct buf *out, struct err *e)
{
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return err_sys(e, errno, "%s", path);
    char part[65536];
    size_t n;
    while ((n = fread(part, 1, sizeof part, f)) > 0)
        buf_add(out, part, n);
    fclose(f);
    buf_char(out, '\0');
    return buf_error(out);
}

/* --- text --- */

static void cell(const struct result *r, int digits)
{
    if (r == NULL)
        printf(" %*s", CELL, "-");
    else
        printf(" %*.*f", CELL, digits, result_median(r));
}

static void ratio(const struct result *ours, const struct result *peer)
{
    if (ours == NULL || peer == NULL || result_median(peer) <= 0)
        printf(" %9s", "-");
    else
        printf(" %9.2f", result_median(ours) / result_median(peer));
}

static void print_gate(const struct gate *g, const struct results *r)
{
    static const char *const words[] = {"met", "NOT MET", "-"};
    double value = 0;
    const enum verdict v = gate_judge(g, r, &value);
    char reached[32] = "not measured";
    if (v != GATE_UNKNOWN)
        snprintf(reached, sizeof reached, "%.3g%s", value, g->versus != NULL ? " x" : "");
    printf("%-*s gate %-28s reached %-14s %s\n", 4, "", g->text, reached, words[v]);
}

static void print_row(const struct table_row *row, const struct results *r)
{
    const struct result *of[3];
    for (int i = 0; i < 3; i++)
        of[i] = results_find(r, row->source, peers[i], row->metric);
    const struct result *other =
        row->other != NULL ? results_find(r, row->source, row->other, row->metric) : NULL;
    char spread[48] = "-";
    if (of[0] != NULL)
        snprintf(spread, sizeof spread, "%.*f-%.*f", row->digits, result_min(of[0]), row->digits,
                 result_max(of[0]));
    printf("%-*s %-5s", TITLE_WIDTH, row->title, row->unit);
    cell(of[0], row->digits);
    printf(" %19s", spread);
    cell(of[1], row->digits);
    cell(of[2], row->digits);
    cell(other, row->digits);
    ratio(of[0], of[1]);
    ratio(of[0], of[2]);
    printf("  %s\n", row->other != NULL ? row->other : "");
    for (size_t i = 0; i < gates_n; i++)
        if (strcmp(gates[i].id, row->id) == 0)
            print_gate(&gates[i], r);
}

static bool measured(const struct table_row *row, const struct results *r)
{
    for (size_t i = 0; i < r->n; i++)
        if (strcmp(r->all[i].row, row->source) == 0)
            return true;
    return false;
}

static void print_table(const struct results *r)
{
    printf("%-*s %-5s %*s %19s %*s %*s %*s %9s %9s  %s\n", TITLE_WIDTH, "median of the rounds", "",
           CELL, "ours", "min-max", CELL, "Apache", CELL, "limit", CELL, "other", "/ Apache",
           "/ limit", "other");
    for (size_t i = 0; i < table_rows_n; i++)
        if (measured(&table_rows[i], r))
            print_row(&table_rows[i], r);
    int count[3] = {0};
    for (size_t i = 0; i < gates_n; i++) {
        double value;
        count[gate_judge(&gates[i], r, &value)]++;
    }
    printf("\ngates: %d met, %d not met, %d not measured\n", count[GATE_MET], count[GATE_NOT_MET],
           count[GATE_UNKNOWN]);
}

static void print_reasons(const char *text)
{
    struct slice rest = slice_str(text), line, row, peer;
    while (slice_cut(&rest, '\n', &line)) {
        struct slice why = line;
        if (slice_cut(&why, '\t', &row) && slice_cut(&why, '\t', &peer))
            printf("no figure: " SLICE_FMT ", " SLICE_FMT ": " SLICE_FMT "\n", SLICE_ARG(row),
                   SLICE_ARG(peer), SLICE_ARG(why));
    }
}

/* --- JSON --- */

static json_t *json_peers(const struct table_row *row, const struct results *r)
{
    json_t *all = json_object();
    for (size_t i = 0; i < sizeof peers / sizeof peers[0]; i++) {
        const struct result *x = results_find(r, row->source, peers[i], row->metric);
        if (x != NULL)
            json_object_set_new(all, peers[i],
                                json_pack("{s:f, s:f, s:f, s:i}", "median", result_median(x), "min",
                                          result_min(x), "max", result_max(x), "rounds",
                                          (int)x->n));
    }
    return all;
}

static json_t *json_gates(const struct table_row *row, const struct results *r)
{
    json_t *all = json_array();
    for (size_t i = 0; i < gates_n; i++) {
        double value = 0;
        if (strcmp(gates[i].id, row->id) != 0)
            continue;
        const enum verdict v = gate_judge(&gates[i], r, &value);
        json_array_append_new(
            all, json_pack("{s:s, s:o, s:o}", "gate", gates[i].text, "reached",
                           v == GATE_UNKNOWN ? json_null() : json_real(value), "met",
                           v == GATE_UNKNOWN ? json_null() : json_boolean(v == GATE_MET)));
    }
    return all;
}

static int write_json(const char *path, const struct results *r, struct err *e)
{
    json_t *rows = json_array();
    for (size_t i = 0; i < table_rows_n; i++) {
        const struct table_row *row = &table_rows[i];
        if (measured(row, r))
            json_array_append_new(rows, json_pack("{s:s, s:s, s:s, s:o, s:o}", "row", row->id,
                                                  "metric", row->metric, "unit", row->unit, "peers",
                                                  json_peers(row, r), "gates", json_gates(row, r)));
    }
    json_t *top = json_pack("{s:o}", "rows", rows);
    const int rc = top != NULL && json_dump_file(top, path, JSON_INDENT(1)) == 0
                       ? 0
                       : err_set(e, E_IO, "%s could not be written", path);
    json_decref(top);
    return rc;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"results", 1, NULL, 'r'},
                                            {"reasons", 1, NULL, 'w'},
                                            {"json", 1, NULL, 'j'},
                                            {NULL, 0, NULL, 0}};
    const char *path[3] = {NULL, NULL, NULL};
    for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (o == '?')
            return 2;
        path[o == 'r' ? 0 : o == 'w' ? 1 : 2] = optarg;
    }
    if (path[0] == NULL || optind < argc) {
        fputs("usage: mqreport --results FILE [--reasons FILE] [--json FILE]\n", stderr);
        return 2;
    }
    struct err e = {.text = ""};
    struct results r = {0};
    struct buf text, why;
    buf_init(&text, 0);
    buf_init(&why, 0);
    int rc = read_file(path[0], &text, &e);
    if (rc == 0 && path[1] != NULL)
        rc = read_file(path[1], &why, &e);
    if (rc == 0)
        rc = results_parse(&r, text.p, &e);
    if (rc == 0) {
        print_table(&r);
        if (why.n > 0)
            print_reasons(why.p);
        if (path[2] != NULL)
            rc = write_json(path[2], &r, &e);
    }
    if (rc != 0)
        fprintf(stderr, "mqreport: %s\n", e.text[0] != '\0' ? e.text : err_text(rc));
    buf_free(&text);
    buf_free(&why);
    results_free(&r);
    return rc != 0;
}
