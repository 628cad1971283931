/* storePlaces, and the mark of a relocated directory, of any bytes, in a store that nothing else is wrong
 * with.
 *
 *   byte 0: which parts lie elsewhere this time: 1 log, 2 queues, 4 index, 8 checkpoint, 0x10 abort file;
 *           0x20 relocated directories hold their true files, else nothing; 0x40 the last stop was not
 *           orderly; 0x80 there is no storePlaces
 *   the rest: storePlaces; a byte FF ends it, and what follows is `.owner` in each relocated directory
 *
 * All that the file says is where things were. Whatever that is, every message is there and found by its
 * key, or the start is refused because a directory is another store's; and then nothing was touched. */
#include <stdio.h>

#include "tests/fuzz/fuzz_base.h"
#include "tests/fuzz/fuzz_target.h"

enum { LOG = 1, QUEUES = 2, INDEX = 4, CHECKPOINT = 8, ABORT = 0x10, WITH_FILES = 0x20, KILLED = 0x40,
       NO_FILE = 0x80 };
#define ID "0123456789abcdef0123456789abcdef"
#define PLACES_PATH FUZZ_ROOT "/storePlaces"

static const struct {
    uint8_t bit;
    const char *key, *usual, *elsewhere;
} parts[] = {
    {LOG, "storePathCommitLog", FUZZ_ROOT "/commitlog", "/l"},
    {QUEUES, "storePathConsumeQueue", FUZZ_ROOT "/consumequeue", "/q"},
    {INDEX, "storePathIndex", FUZZ_ROOT "/index", "/i"},
    {CHECKPOINT, "storeCheckpoint", FUZZ_ROOT "/checkpoint", "/c"},
    {ABORT, "abortFile", FUZZ_ROOT "/abort", "/a"},
};
enum { PART_N = sizeof parts / sizeof *parts };

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    fuzz_store_init();
    fuzz_base_init(FUZZ_BASE_SMALL);
    return 0;
}

static void put_mark(const char *dir, struct slice mark)
{
    char path[64];
    snprintf(path, sizeof path, "%s/.owner", dir);
    fuzz_disk_put(path, mark);
}

/* The log has to come along: without it the store is empty. */
static void relocate(uint8_t flags, const struct slice *mark)
{
    if (flags & LOG)
        fuzz_disk_move(parts[0].usual, parts[0].elsewhere);
    for (int i = 1; i < 3; i++) {
        if (!(flags & parts[i].bit))
            continue;
        if (flags & WITH_FILES)
            fuzz_disk_move(parts[i].usual, parts[i].elsewhere);
        if (mark)
            put_mark(parts[i].elsewhere, *mark);
    }
    if (flags & CHECKPOINT && flags & WITH_FILES)
        fuzz_disk_move(parts[3].usual, parts[3].elsewhere);
    if (flags & KILLED)
        fuzz_disk_put(flags & ABORT ? parts[4].elsewhere : parts[4].usual, SLICE_LIT("1"));
}

static void set_opts(struct store_opts *o, uint8_t flags)
{
    o->commitlog_dir = flags & LOG ? parts[0].elsewhere : NULL;
    o->consumequeue_dir = flags & QUEUES ? parts[1].elsewhere : NULL;
    o->index_dir = flags & INDEX ? parts[2].elsewhere : NULL;
    o->checkpoint_path = flags & CHECKPOINT ? parts[3].elsewhere : NULL;
    o->abort_path = flags & ABORT ? parts[4].elsewhere : NULL;
}

/* Opens, looks at everything, stops in order. false: refused. */
static bool open_and_check(const struct store_opts *o, bool may_refuse)
{
    struct store *st;
    struct store_recovery found;
    struct err e = {0};
    const int rc = store_open(&st, o, &found, &e);
    if (rc) {
        MQ_ASSERT(may_refuse && rc == E_DENIED && e.text[0]);
        return false;
    }
    MQ_ASSERT(found.dropped_bytes == 0);
    fuzz_model_check(fuzz_base_model(), st);
    fuzz_store_read(st, true);
    fuzz_base_query(st, true);
    fuzz_store_close(st);
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct store_opts o;
    if (!n)
        return 0;
    const uint8_t flags = data[0];
    struct slice mark = slice_of((const char *)data + 1, n - 1), text = SLICE_NULL;
    slice_cut(&mark, (char)0xff, &text);
    fuzz_base_restore(&o);
    set_opts(&o, flags);
    relocate(flags, mark.p ? &mark : NULL);
    if (!(flags & NO_FILE))
        fuzz_disk_put(PLACES_PATH, text);
    if (open_and_check(&o, flags & (QUEUES | INDEX))) {
        MQ_ASSERT(open_and_check(&o, false)); /* what the first one wrote is right */
        return 0;
    }
    /* Refused: what was there still makes the same store, in its usual place. */
    fuzz_disk_remove(PLACES_PATH);
    for (int i = 0; i < PART_N; i++)
        if (flags & parts[i].bit && (i == 0 || flags & WITH_FILES)) {
            fuzz_disk_remove(parts[i].usual);
            fuzz_disk_move(parts[i].elsewhere, parts[i].usual);
        }
    set_opts(&o, 0);
    open_and_check(&o, false);
    return 0;
}

/* ---- the mutator ---- */

static size_t add_text(uint8_t *data, size_t n, size_t max, const char *text)
{
    const size_t size = strlen(text);
    if (size > max - n)
        return n;
    memcpy(data + n, text, size);
    return n + size;
}

static size_t true_file(uint8_t *data, size_t max, unsigned seed)
{
    char line[96];
    size_t n = 1;
    data[0] = (uint8_t)seed;
    n = add_text(data, n, max, "id=" ID "\n");
    for (int i = 0; i < PART_N; i++) {
        if (!(data[0] & parts[i].bit))
            continue;
        snprintf(line, sizeof line, "%s=%s\n", parts[i].key, parts[i].elsewhere);
        n = add_text(data, n, max, line);
    }
    return seed >> 8 & 1 ? add_text(data, n, max, "\xff" ID) : n;
}

/* A line more, at the front of the text, that names a path of the store or of nothing. */
static size_t add_line(uint8_t *data, size_t n, size_t max, unsigned seed)
{
    static const char *const paths[] = {"/q", "/i", "/a", "/c", "/l", "/nowhere/x", "relative", FUZZ_ROOT,
                                        FUZZ_ROOT "/lock", FUZZ_ROOT "/checkpoint", FUZZ_ROOT "/indexCheckpoint",
                                        FUZZ_ROOT "/abort", FUZZ_ROOT "/storePlaces", FUZZ_ROOT "/commitlog",
                                        FUZZ_ROOT "/commitlog/00000000000000000000"};
    char line[128];
    snprintf(line, sizeof line, "%s=%s\n", parts[seed % PART_N].key,
             paths[seed / 8 % (sizeof paths / sizeof *paths)]);
    const size_t size = strlen(line);
    if (size > max - n)
        return n;
    memmove(data + 1 + size, data + 1, n - 1);
    memcpy(data + 1, line, size);
    return n + size;
}

/* Inputs begin with a true file, and change from there. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n, size_t max, unsigned seed)
{
    if (n < 2 || seed % 64 == 0)
        return max > 1 ? true_file(data, max, seed >> 6) : n;
    if (seed % 8 == 1)
        return add_line(data, n, max, seed >> 6);
    return LLVMFuzzerMutate(data, n, max);
}
