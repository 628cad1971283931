/* Reading /proc/PID; see proc.h. Runs on the caller's thread, keeps nothing. A process that is gone is
 * a normal answer (-1), not an error: the caller knows whether it expected it to live. */
#include "bench/proc.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>

int64_t proc_cpu_ticks(int pid)
{
    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *f = fopen(path, "r");
    if (f == NULL)
        return -1;
    const size_t n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[n] = '\0';
    const char *p = strrchr(text, ')'); /* the name before it may hold anything */
    long long user = 0, sys = 0;
    if (p == NULL ||
        sscanf(p + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lld %lld", &user, &sys) != 2)
        return -1;
    return user + sys;
}

int64_t proc_cpu_ns(int pid)
{
    char path[320];
    snprintf(path, sizeof path, "/proc/%d/task", pid);
    DIR *tasks = opendir(path);
    if (tasks == NULL)
        return -1;
    int64_t sum = 0;
    for (const struct dirent *d; (d = readdir(tasks)) != NULL;) {
        if (d->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "/proc/%d/task/%s/schedstat", pid, d->d_name);
        FILE *f = fopen(path, "r");
        long long ns = 0;
        if (f != NULL && fscanf(f, "%lld", &ns) == 1)
            sum += ns;
        if (f != NULL)
            fclose(f);
    }
    closedir(tasks);
    return sum;
}

int64_t proc_status_kib(int pid, const char *name)
{
    char path[64], line[256];
    snprintf(path, sizeof path, "/proc/%d/status", pid);
    FILE *f = fopen(path, "r");
    if (f == NULL)
        return -1;
    long long kib = -1;
    const size_t n = strlen(name);
    while (fgets(line, sizeof line, f) != NULL)
        if (strncmp(line, name, n) == 0 && sscanf(line + n, ": %lld", &kib) == 1)
            break;
    fclose(f);
    return kib;
}
