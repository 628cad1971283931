/* The name server's configuration table. The rows are in conf.def; runs on the main thread, once. */
#include "namesrv/conf.h"

#include <stddef.h>

static const char *const log_level_names[] = {"DEBUG", "INFO", "WARN", "ERROR", NULL}; /* enum log_level */

static const struct conf_row rows[] = {
#define CONF_DEF "namesrv/conf.def"
#define CONF_ROWS struct namesrv_conf
#include "base/conf_def.h"
};
const struct conf_table namesrv_conf_table = {rows, sizeof rows / sizeof *rows};

static int apply_file(struct namesrv_conf *c, const char *path, void (*note)(void *arg, const char *text),
                      void *arg, struct err *e)
{
    struct props p;
    int rc = props_load(path, &p, e);
    if (rc != 0)
        return rc;
    rc = conf_apply(&namesrv_conf_table, c, &p, path, note, arg, e);
    props_free(&p);
    return rc;
}

int namesrv_conf_load(struct namesrv_conf *c, const char *path, void (*note)(void *arg, const char *text),
                      void *arg, struct err *e)
{
    int rc = conf_defaults(&namesrv_conf_table, c, e);
    if (rc == 0 && path != NULL)
        rc = apply_file(c, path, note, arg, e);
    if (rc != 0)
        namesrv_conf_free(c);
    return rc;
}

void namesrv_conf_free(struct namesrv_conf *c)
{
    conf_free(&namesrv_conf_table, c);
}
