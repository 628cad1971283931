#pragma once
/* The command line of mqstore. */
#include "mqstore/dump.h"
#include "mqstore/repair.h"
#include "mqstore/verify.h"

enum command { CMD_VERIFY, CMD_DUMP, CMD_REPAIR };

struct args {
    enum command command;
    struct site_opts site;
    bool json, quiet;
    int64_t problems; /* verify */
    struct dump_opts dump;
    struct repair_opts repair;
};

/* Returns -1 to go on, otherwise the exit code; what is to be said has been said: help on stdout, a wrong
 * command line on stderr. The strings are those of argv. */
int args_parse(int argc, char **argv, struct args *out);
