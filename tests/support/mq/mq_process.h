#pragma once
/* Real mqnamesrv and mqbroker processes for integration tests: own directory, port 0. */
#include "tests/support/process.h"

struct mq_process {
    struct process *process;
    const char *dir;
    char address[80]; /* as its boot line says */
};
/* conf: further lines of broker.conf or namesrv.conf ("key=value\n..."), may be NULL; the directory is kept over
 * restarts. env may be NULL ("HALFPENNY_FAILPOINTS=..."). Fails the test when it does not get ready. */
void mq_broker_start(struct mq_process *m, const char *dir, const char *namesrv, const char *conf,
                     const char *env);
void mq_namesrv_start(struct mq_process *m, const char *dir, const char *conf);
void mq_kill(struct mq_process *m); /* SIGKILL */
void mq_stop(struct mq_process *m); /* SIGTERM; must exit 0 */
