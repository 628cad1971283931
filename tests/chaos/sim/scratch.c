/* Owns: the one scratch directory. Runs on: the thread of the run. */
#include "tests/chaos/sim/scratch.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fs.h"

static char dir[4096];

const char *scratch_new(void)
{
    const char *tmp = getenv("TMPDIR");
    snprintf(dir, sizeof dir, "%s/mqchaos.XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : tmp ? tmp : "/tmp");
    if (!mkdtemp(dir)) {
        fprintf(stderr, "mqchaos: cannot create %s\n", dir);
        exit(1);
    }
    return dir;
}

void scratch_remove(void)
{
    struct err e;
    if (fs_remove_tree(&fs_real, dir, &e))
        fprintf(stderr, "mqchaos: %s\n", e.text);
}
