#pragma once
/* What /proc says about another process. */
#include <stdint.h>

/* User and system time since its start, in clock ticks (sysconf(_SC_CLK_TCK) a second); -1 when it
 * cannot be read. */
int64_t proc_cpu_ticks(int pid);
/* The same in ns, from the scheduler's own account of every thread that lives; -1 when it cannot be
 * read. */
int64_t proc_cpu_ns(int pid);
/* One "Name:  123 kB" line of its status; -1 when it cannot be read. */
int64_t proc_status_kib(int pid, const char *name);
