/* Index files of any bytes, in a store that nothing else is wrong with.
 *
 *   byte 0: 1 the last stop was not orderly; 2 there is an indexCheckpoint, 4 as it was in the base,
 *           else of the next 14 bytes (which file, covered up to, items, slots); 8 the last file keeps
 *           its length (else it gets zeros); 0x10 the index time of the checkpoint is in the far future
 *   the rest: the index files, one after the other
 *
 * An index has no checksums of its own: items may be lost by damage, but a query never names a record
 * that does not carry the key, and always ends. Where no file can be believed all keys are found. */
#include <stdio.h>

#include "base/crc.h"
#include "tests/fuzz/fuzz_base.h"
#include "tests/fuzz/fuzz_target.h"

enum { KILLED = 1, STATE = 2, TRUE_STATE = 4, SHORT = 8, FUTURE = 0x10, STATE_SIZE = 36, STATE_FIELDS = 14,
       FILES_MAX = 3 };
#define STATE_PATH FUZZ_ROOT "/indexCheckpoint"

static int64_t names[FILES_MAX]; /* ascending; the base has the first ones */
static int name_n;
static struct buf base_files;

static int note_name(void *arg, const char *text)
{
    int64_t name;
    (void)arg;
    MQ_ASSERT(!slice_i64(slice_str(text), &name) && name_n < FILES_MAX);
    int at = name_n++;
    for (; at > 0 && names[at - 1] > name; at--)
        names[at] = names[at - 1];
    names[at] = name;
    return 0;
}

static void index_path(int64_t name, char out[64])
{
    snprintf(out, 64, FUZZ_ROOT "/index/%017lld", (long long)name);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    struct err e;
    char path[64];
    fuzz_store_init();
    fuzz_base_init(FUZZ_BASE_LARGE);
    MQ_ASSERT(!fuzz_disk()->list(fuzz_disk(), FUZZ_ROOT "/index", note_name, NULL, &e) && name_n);
    buf_init(&base_files, 0);
    for (int i = 0; i < name_n; i++) {
        index_path(names[i], path);
        buf_slice_add(&base_files, fuzz_base_file(path));
    }
    for (; name_n < FILES_MAX; name_n++)
        names[name_n] = names[name_n - 1] + 1;
    return 0;
}

/* Returns whether one of them may be believed. */
static bool put_files(struct slice in, uint8_t flags)
{
    static char padded[FUZZ_INDEX_FILE];
    bool believable = false;
    for (int i = 0; in.n && i < FILES_MAX; i++) {
        char path[64];
        const size_t n = in.n < FUZZ_INDEX_FILE ? in.n : FUZZ_INDEX_FILE;
        const size_t size = flags & SHORT ? n : FUZZ_INDEX_FILE;
        memset(padded, 0, sizeof padded);
        memcpy(padded, in.p, n);
        index_path(names[i], path);
        fuzz_disk_put(path, slice_of(padded, size));
        believable |= size == FUZZ_INDEX_FILE;
        in = slice_of(in.p + n, in.n - n);
    }
    return believable;
}

static void put_state(const uint8_t *fields)
{
    char state[STATE_SIZE];
    be32_put(state, 0x48504958);
    be32_put(state + 4, 1);
    be64_put(state + 8, fields[0] % (FILES_MAX + 1) ? (uint64_t)names[fields[0] % (FILES_MAX + 1) - 1] : 0);
    memcpy(state + 16, fields + 1, 12);
    be32_put(state + 28, fields[13] & 1);
    be32_put(state + 32, crc32_update(0, state, 32));
    fuzz_disk_put(STATE_PATH, slice_of(state, sizeof state));
}

static void put_future(void)
{
    char page[4096] = {0};
    be64_put(page + 16, INT64_MAX);
    fuzz_disk_put(FUZZ_ROOT "/checkpoint", slice_of(page, sizeof page));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct store_opts o;
    struct store_recovery found;
    const size_t head = n && (data[0] & (STATE | TRUE_STATE)) == STATE ? 1 + STATE_FIELDS : 1;
    if (n < head)
        return 0;
    const uint8_t flags = data[0];
    fuzz_base_restore(&o);
    fuzz_disk_remove(FUZZ_ROOT "/index");
    if (!(flags & STATE))
        fuzz_disk_remove(STATE_PATH);
    else if (!(flags & TRUE_STATE))
        put_state(data + 1);
    const bool believable = put_files(slice_of((const char *)data + head, n - head), flags);
    if (flags & FUTURE)
        put_future();
    if (flags & KILLED)
        fuzz_store_mark_killed();
    /* The true state speaks of a file: where that is missing, it is not believed either. */
    const bool complete = !believable && (!(flags & STATE) || flags & TRUE_STATE);
    struct store *st = fuzz_store_open(&o, &found);
    MQ_ASSERT(st);
    fuzz_base_query(st, complete);
    const uint64_t hash = fuzz_base_query(st, complete);
    fuzz_store_close(st);
    st = fuzz_store_open(&o, &found);
    MQ_ASSERT(st && fuzz_base_query(st, complete) == hash);
    fuzz_store_close(st);
    return 0;
}

/* Inputs begin with the true files, and change from there. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n, size_t max, unsigned seed)
{
    if ((n < 2 || seed % 64 == 0) && max > base_files.n) {
        data[0] = (uint8_t)(seed >> 8 & 0x15);
        memcpy(data + 1, base_files.p, base_files.n);
        n = 1 + base_files.n;
    }
    return LLVMFuzzerMutate(data, n, max);
}
