/* Tables on the terminal, by libsmartcols: the only file that knows it.
 *
 * On a terminal, columns that may wrap share what width there is; in a pipe nothing is cut or wrapped, so
 * that the output can be searched. Main thread only. */
#include "apps/shopctl/shopctl.h"

#include <libsmartcols.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct ctl_table {
    struct libscols_table *scols;
    int n_columns;
};

static int no_memory(struct app_error *e)
{
    return app_fail(e, APP_E_NOMEM, "a table");
}

static int add_column(struct libscols_table *t, const struct ctl_column *c, bool terminal)
{
    const int flags = (c->flags & COL_RIGHT ? SCOLS_FL_RIGHT : 0) |
                      (c->flags & COL_WRAP && terminal ? SCOLS_FL_WRAP : 0);
    return scols_table_new_column(t, c->name, 0, flags) == NULL;
}

int table_new(const struct ctl_column *columns, struct ctl_table **out, struct app_error *e)
{
    const bool terminal = isatty(STDOUT_FILENO);
    struct ctl_table *t = calloc(1, sizeof *t);
    if (t == NULL)
        return no_memory(e);
    t->scols = scols_new_table();
    bool bad = t->scols == NULL;
    if (!bad && !terminal)
        bad = scols_table_enable_nowrap(t->scols, 1) != 0;
    for (; !bad && columns[t->n_columns].name != NULL; t->n_columns++)
        bad = add_column(t->scols, &columns[t->n_columns], terminal);
    if (bad) {
        table_free(t);
        return no_memory(e);
    }
    *out = t;
    return 0;
}

int table_row(struct ctl_table *t, const char *const *cells, struct app_error *e)
{
    struct libscols_line *line = scols_table_new_line(t->scols, NULL);
    bool bad = line == NULL;
    for (int i = 0; !bad && i < t->n_columns; i++)
        bad = scols_line_set_data(line, (size_t)i, cells[i] != NULL ? cells[i] : "") != 0;
    return bad ? no_memory(e) : 0;
}

int table_print(struct ctl_table *t, const char *title, struct app_error *e)
{
    if (title != NULL)
        printf("%s\n", title);
    const bool bad = scols_print_table(t->scols) != 0;
    if (!scols_table_is_empty(t->scols))
        putchar('\n');
    table_free(t);
    return bad || fflush(stdout) != 0 ? app_fail(e, APP_E_IO, "cannot write a table") : 0;
}

void table_free(struct ctl_table *t)
{
    if (t == NULL)
        return;
    scols_unref_table(t->scols);
    free(t);
}
