/* Files and directories of any name in the directories of a store that nothing is wrong with.
 *
 *   byte 0: 1 the last stop was not orderly; 2 there is no checkpoint; 4 the second open finds a killed
 *           process
 *   then entries: byte 0: which directory (low 3 bits), 8 a directory is made instead of a file; byte 1:
 *   bytes of the name (low 5 bits); byte 2: bytes of the content; then these
 *
 * What has no name of ours is left alone, and the store is what it was. What has one (twenty digits in the
 * log and in queues, seventeen in the index) is judged like any file of the store: then only the log's
 * records are certain, or the start is refused with words. */
#include <stdio.h>

#include "tests/fuzz/fuzz_base.h"
#include "tests/fuzz/fuzz_target.h"

enum { KILLED = 1, NO_CHECKPOINT = 2, KILLED_AGAIN = 4, DIRECTORY = 8, DIR_MASK = 7, NAME_MASK = 31,
       ENTRIES_MAX = 16, PATH_SIZE = 128, LOG_DIR = 1, QUEUE_DIR = 4, INDEX_DIR = 6 };

static const char *const dirs[] = {
    FUZZ_ROOT, FUZZ_ROOT "/commitlog", FUZZ_ROOT "/consumequeue", FUZZ_ROOT "/consumequeue/A",
    FUZZ_ROOT "/consumequeue/A/0", FUZZ_ROOT "/consumequeue/C", FUZZ_ROOT "/index", FUZZ_ROOT "/config"};

struct entry {
    char path[PATH_SIZE];
    struct slice content;
    bool is_dir;
};
static struct tree {
    struct entry v[ENTRIES_MAX];
    int n;
    bool log, queue, index; /* one of them has a name of ours */
} tree;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    fuzz_store_init();
    fuzz_base_init(FUZZ_BASE_SMALL);
    return 0;
}

static bool is_digits(struct slice name, size_t n)
{
    for (size_t i = 0; i < name.n; i++)
        if (name.p[i] < '0' || name.p[i] > '9')
            return false;
    return name.n == n;
}

static bool is_free(const char *path)
{
    struct fs_stat st;
    return fuzz_disk()->stat(fuzz_disk(), path, &st, NULL) == E_NOTFOUND;
}

static bool is_file(const char *path)
{
    struct fs_stat st;
    return !fuzz_disk()->stat(fuzz_disk(), path, &st, NULL) && !st.is_dir;
}

/* Files that the store makes when they are missing, or beside which it writes. */
static bool is_known(struct slice name)
{
    static const char *const known[] = {"lock", "abort", "checkpoint", "indexCheckpoint", "storePlaces"};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (slice_starts(name, slice_str(known[i])))
            return true;
    return false;
}

static void note_names(int dir, struct slice name)
{
    const bool digits = is_digits(name, 20);
    tree.log |= dir == LOG_DIR && digits;
    tree.queue |= dir == QUEUE_DIR && digits;
    tree.index |= dir == INDEX_DIR && is_digits(name, 17);
}

static void add_entry(uint8_t how, struct slice name, struct slice content)
{
    const int dir = how & DIR_MASK;
    struct entry *const e = &tree.v[tree.n];
    if (!name.n || memchr(name.p, '/', name.n) || memchr(name.p, 0, name.n) || slice_eq_str(name, ".") ||
        slice_eq_str(name, "..") || (!dir && is_known(name)) || tree.n == ENTRIES_MAX)
        return;
    snprintf(e->path, sizeof e->path, "%s/" SLICE_FMT, dirs[dir], SLICE_ARG(name));
    if (!is_free(e->path) || is_file(dirs[dir]))
        return;
    e->is_dir = how & DIRECTORY;
    e->content = e->is_dir ? SLICE_NULL : content;
    note_names(dir, name);
    if (e->is_dir)
        fuzz_disk_mkdir(e->path);
    else
        fuzz_disk_put(e->path, content);
    tree.n++;
}

static void put_entries(struct slice in)
{
    tree.n = 0;
    tree.log = tree.queue = tree.index = false;
    while (in.n >= 3) {
        const uint8_t how = (uint8_t)in.p[0];
        size_t name_n = (uint8_t)in.p[1] & NAME_MASK, content_n = (uint8_t)in.p[2];
        in = slice_of(in.p + 3, in.n - 3);
        name_n = name_n < in.n ? name_n : in.n;
        const struct slice name = slice_of(in.p, name_n);
        in = slice_of(in.p + name_n, in.n - name_n);
        content_n = content_n < in.n ? content_n : in.n;
        add_entry(how, name, slice_of(in.p, content_n));
        in = slice_of(in.p + content_n, in.n - content_n);
    }
}

static void check_left_alone(void)
{
    for (int i = 0; i < tree.n; i++) {
        const struct entry *e = &tree.v[i];
        struct slice content;
        if (e->is_dir)
            MQ_ASSERT(!is_free(e->path));
        else
            MQ_ASSERT(fuzz_disk_get(e->path, &content) && slice_eq(content, e->content));
    }
}

/* Nothing of ours was added: the store is the base, and what was added is still there. */
static void check_untouched(const struct store_opts *o, bool killed)
{
    for (int round = 0; round < 2; round++) {
        struct store_recovery found;
        struct store *st = fuzz_store_open(o, &found);
        MQ_ASSERT(st && found.dropped_bytes == 0);
        fuzz_model_check(fuzz_base_model(), st);
        fuzz_store_read(st, true);
        fuzz_base_query(st, true);
        fuzz_store_close(st);
        check_left_alone();
        if (killed)
            fuzz_store_mark_killed();
    }
}

/* Refused with words, or every record is there. */
static void check_refused_or_whole(const struct store_opts *o)
{
    struct store *st;
    struct store_recovery found;
    struct err e = {0};
    if (store_open(&st, o, &found, &e)) {
        MQ_ASSERT((e.code == E_CORRUPT || e.code == E_IO) && e.text[0]);
        return;
    }
    const bool all_read = found.verified_bytes == found.log_max;
    MQ_ASSERT(tree.log || (found.dropped_bytes == 0 && found.log_max == fuzz_base_model()->log_end));
    if (all_read && !tree.log)
        fuzz_model_check(fuzz_base_model(), st);
    fuzz_store_read(st, true);
    fuzz_base_query(st, !tree.index && !tree.log);
    fuzz_store_close(st);
    MQ_ASSERT(!store_open(&st, o, &found, &e));
    MQ_ASSERT(found.dropped_bytes == 0);
    fuzz_store_read(st, true);
    fuzz_store_close(st);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct store_opts o;
    if (!n)
        return 0;
    const uint8_t flags = data[0];
    fuzz_base_restore(&o);
    put_entries(slice_of((const char *)data + 1, n - 1));
    if (flags & NO_CHECKPOINT)
        fuzz_disk_remove(FUZZ_ROOT "/checkpoint");
    if (flags & KILLED)
        fuzz_store_mark_killed();
    if (tree.log || tree.queue || tree.index)
        check_refused_or_whole(&o);
    else
        check_untouched(&o, flags & KILLED_AGAIN);
    return 0;
}

/* ---- the mutator ---- */

/* An entry whose name is close to one of ours. */
static size_t add_name(uint8_t *data, size_t n, size_t max, unsigned seed)
{
    static const char *const names[] = {
        "0", "00", "+0", "1", "-1", "2147483647", "4294967296", "A", "C", "%RETRY%g", "notes.txt", "D",
        "00000000000000000000", "00000000000000004096", "00000000000000012288", "00000000000000016384",
        "00000000000000000160", "00000000000000000480", "99999999999999999999", "0000000000000000000",
        "00000000000000000000.tmp", "20231114221320000", "99999999999999999", ".owner", "topics.json.bak"};
    const char *const name = names[seed % (sizeof names / sizeof *names)];
    const size_t name_n = strlen(name), content_n = seed >> 8 & 3 ? 0 : seed >> 10 & 63;
    if (n + 3 + name_n + content_n > max)
        return n;
    data[n] = (uint8_t)(seed >> 16 & 15);
    data[n + 1] = (uint8_t)name_n;
    data[n + 2] = (uint8_t)content_n;
    memcpy(data + n + 3, name, name_n);
    memset(data + n + 3 + name_n, (int)(seed >> 20 & 1), content_n);
    return n + 3 + name_n + content_n;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n, size_t max, unsigned seed)
{
    if (!n && max)
        data[n++] = 0;
    if (n < 2 || seed % 4 == 0)
        return add_name(data, n, max, seed >> 2);
    return LLVMFuzzerMutate(data, n, max);
}
