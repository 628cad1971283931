/* shopctl: dispatch. `shopctl COMMAND [--option value] [argument]`; each command has its own options, and
 * every option may stand in the environment (SHOP_DSN). Exit status: 0; 1 when a command found what it
 * looks for (a violated invariant, no such order); 2 when it could not do its work. */
#include "apps/shopctl/shopctl.h"

#include <stdio.h>
#include <string.h>

static const struct ctl_command *const commands[] = {&ctl_audit,  &ctl_order,     &ctl_sagas,
                                                     &ctl_dlq,    &ctl_failpoint, &ctl_cluster,
                                                     &ctl_health, &ctl_schema,    &ctl_seed};
#define N_COMMANDS (sizeof commands / sizeof commands[0])

static void usage(FILE *out)
{
    fprintf(out, "shopctl: looks after the shop\n\n");
    for (size_t i = 0; i < N_COMMANDS; i++)
        fprintf(out, "  shopctl %-9s %-11s %s\n", commands[i]->name, commands[i]->arguments,
                commands[i]->summary);
    fprintf(
        out,
        "\n`shopctl COMMAND -h` lists its options; each may also stand in the environment as SHOP_<OPTION>.\n");
}

static const struct ctl_command *find_command(const char *name)
{
    for (size_t i = 0; i < N_COMMANDS; i++)
        if (strcmp(commands[i]->name, name) == 0)
            return commands[i];
    return NULL;
}

static int run_command(const struct ctl_command *cmd, struct ctl *c, struct app_error *e)
{
    if (app_wants_help(c->settings)) {
        char name[64];
        (void)snprintf(name, sizeof name, "shopctl %s %s", cmd->name, cmd->arguments);
        app_print_help(c->settings, name, cmd->summary);
        return CTL_OK;
    }
    if (c->n_args < cmd->args_min || c->n_args > cmd->args_max)
        return app_fail(e, APP_E_CONFIG, "usage: shopctl %s [options] %s (options come first)",
                        cmd->name, cmd->arguments);
    return cmd->run(c, e);
}

int main(int argc, char **argv)
{
    if (argc < 2 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "--help") == 0 ||
        strcmp(argv[1], "help") == 0) {
        usage(argc < 2 ? stderr : stdout);
        return argc < 2 ? CTL_FAILED : CTL_OK;
    }
    const struct ctl_command *const cmd = find_command(argv[1]);
    if (cmd == NULL) {
        fprintf(stderr, "shopctl: no command is called %s\n\n", argv[1]);
        usage(stderr);
        return CTL_FAILED;
    }
    const struct app_option *const tables[] = {cmd->options};
    struct app *settings;
    struct app_error e = {0};
    int rest = 0;
    int rc = app_log_open("-", "shopctl", LOG_LEVEL_WARN, &e);
    if (rc == 0 && (rc = app_settings(tables, 1, argc - 1, argv + 1, &rest, &settings, &e)) == 0) {
        struct ctl c = {.settings = settings, .n_args = argc - 1 - rest, .args = argv + 1 + rest};
        rc = run_command(cmd, &c, &e);
        app_settings_free(settings);
    }
    app_log_close();
    if (rc < 0)
        fprintf(stderr, "shopctl %s: %s\n", cmd->name, e.text);
    return rc < 0 ? CTL_FAILED : rc;
}
