/* Directories of tests.
 *
 * Owns: the directories made here and the path strings handed out, in a list that an atexit handler
 * empties. Runs on: any thread; the list has a lock.
 *
 * Failure modes: a directory that cannot be made ends the program with the reason, as no test
 * can go on; one that cannot be removed is reported on stderr. A program that is killed leaves its
 * directories; their names begin with halfpenny- and carry the process id. */
#include "tests/support/tmpdir.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/list.h"

struct path {
    struct list link;
    char text[];
};

struct dir {
    struct list link, paths;
    pid_t owner; /* a forked child must not remove its parent's directories */
    char text[];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct list dirs = {&dirs, &dirs};

static void *must(void *p)
{
    MQ_ASSERT(p);
    return p;
}

static void dir_free(struct dir *d)
{
    struct err e;
    if (getenv("HALFPENNY_KEEP"))
        fprintf(stderr, "kept: %s\n", d->text);
    else if (d->owner == getpid() && fs_remove_tree(&fs_real, d->text, &e) && e.code != E_NOTFOUND)
        fprintf(stderr, "cannot remove %s: %s\n", d->text, e.text);
    for (struct list *l; (l = list_pop_front(&d->paths));)
        free(LIST_ENTRY(l, struct path, link));
    free(d);
}

static void remove_all(void)
{
    for (struct list *l; (l = list_pop_front(&dirs));)
        dir_free(LIST_ENTRY(l, struct dir, link));
}

const char *tmpdir_new(const char *name)
{
    static bool registered;
    const char *base = getenv("TMPDIR");
    struct buf b;
    buf_init(&b, 0);
    buf_printf(&b, "%s/halfpenny-%s-%d-XXXXXX", base && *base ? base : "/tmp", name, (int)getpid());
    char *template = must(buf_take(&b, NULL));
    if (!mkdtemp(template)) {
        fprintf(stderr, "cannot make a directory %s: %s\n", template, strerror(errno));
        exit(1);
    }
    struct dir *d = must(malloc(sizeof *d + strlen(template) + 1));
    memcpy(d->text, template, strlen(template) + 1);
    free(template);
    d->owner = getpid();
    list_init(&d->paths);
    pthread_mutex_lock(&lock);
    list_push_back(&dirs, &d->link);
    if (!registered)
        registered = atexit(remove_all) == 0;
    pthread_mutex_unlock(&lock);
    return d->text;
}

static struct dir *dir_of(const char *text)
{
    LIST_FOREACH(l, &dirs) {
        struct dir *d = LIST_ENTRY(l, struct dir, link);
        if (d->text == text)
            return d;
    }
    mq_panic(__FILE__, __LINE__, "not a directory of tmpdir_new: %s", text);
}

void tmpdir_remove(const char *dir)
{
    pthread_mutex_lock(&lock);
    struct dir *d = dir_of(dir);
    list_remove(&d->link);
    pthread_mutex_unlock(&lock);
    dir_free(d);
}

const char *tmpdir_path(const char *dir, const char *name)
{
    size_t n = strlen(dir) + 1 + strlen(name) + 1;
    struct path *p = must(malloc(sizeof *p + n));
    snprintf(p->text, n, "%s/%s", dir, name);
    pthread_mutex_lock(&lock);
    list_push_back(&dir_of(dir)->paths, &p->link);
    pthread_mutex_unlock(&lock);
    return p->text;
}
