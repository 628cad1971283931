/* Recovery of consume queue files of any bytes, in front of a log that nothing is wrong with.
 *
 *   byte 0: 1 the last stop was not orderly; 2 there is no checkpoint; 4 none of the true queue files are
 *           there; 8 the second open finds a killed process
 *   then pieces, each one file: byte 0: which queue (3), which file of it (0x0c), 0x10 zeros up to its
 *           full size; byte 1: how many bytes follow
 *
 * Consume queues are derived: whatever they hold, only records of the log are served, and when
 * recovery read the whole log, all of them are. */
#include <stdio.h>

#include "tests/fuzz/fuzz_base.h"
#include "tests/fuzz/fuzz_target.h"

enum { KILLED = 1, NO_CHECKPOINT = 2, NO_QUEUES = 4, KILLED_AGAIN = 8, PAD = 0x10, FILE_SHIFT = 2 };

static const char *const dirs[] = {"A/0", "A/1", "B/0", "C/3"};

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    fuzz_store_init();
    fuzz_base_init(FUZZ_BASE_LARGE);
    return 0;
}

static void queue_path(uint8_t which, char out[96])
{
    snprintf(out, 96, FUZZ_ROOT "/consumequeue/%s/%020d", dirs[which & 3], (which >> FILE_SHIFT & 3) * FUZZ_CQ_FILE);
}

/* Puts one file; returns the rest of the input. */
static struct slice put_piece(struct slice in)
{
    char path[96], file[256] = {0};
    const uint8_t which = (uint8_t)in.p[0];
    size_t n = (uint8_t)in.p[1];
    in = slice_of(in.p + 2, in.n - 2);
    n = n < in.n ? n : in.n;
    if (n)
        memcpy(file, in.p, n);
    queue_path(which, path);
    fuzz_disk_put(path, slice_of(file, which & PAD && n < FUZZ_CQ_FILE ? FUZZ_CQ_FILE : n));
    return slice_of(in.p + n, in.n - n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct store_opts o;
    struct store_recovery found;
    if (!n)
        return 0;
    const uint8_t flags = data[0];
    fuzz_base_restore(&o);
    o.index_enable = false;
    if (flags & NO_CHECKPOINT)
        fuzz_disk_remove(FUZZ_ROOT "/checkpoint");
    if (flags & NO_QUEUES)
        fuzz_disk_remove(FUZZ_ROOT "/consumequeue");
    struct slice rest = slice_of((const char *)data + 1, n - 1);
    while (rest.n >= 2)
        rest = put_piece(rest);
    if (flags & KILLED)
        fuzz_store_mark_killed();
    struct store *st = fuzz_store_open(&o, &found);
    if (!st)
        return 0;
    MQ_ASSERT(found.dropped_bytes == 0 && found.log_max == fuzz_base_model()->log_end);
    const bool all_read = found.verified_bytes == found.log_max;
    if (all_read)
        fuzz_model_check(fuzz_base_model(), st);
    const uint64_t hash = fuzz_store_read(st, true);
    fuzz_store_close(st);
    if (all_read) {
        fuzz_store_check_again(&o, hash, true, flags & KILLED_AGAIN);
    } else { /* units that were believed may turn out wrong later, but never show a wrong record */
        st = fuzz_store_open(&o, &found);
        MQ_ASSERT(st && found.clean && found.dropped_bytes == 0);
        fuzz_store_read(st, true);
        fuzz_store_close(st);
    }
    return 0;
}

/* ---- the mutator ---- */

static size_t add_piece(uint8_t *data, size_t n, size_t max, unsigned seed)
{
    char path[96];
    const uint8_t which = (uint8_t)(seed % 12 | (seed >> 4 & PAD));
    queue_path(which, path);
    const struct slice file = fuzz_base_file(path);
    const size_t size = file.n < 255 ? file.n : 255;
    if (n + 2 + size > max)
        return n;
    data[n] = which;
    data[n + 1] = (uint8_t)size;
    if (size)
        memcpy(data + n + 2, file.p, size);
    return n + 2 + size;
}

/* Inputs begin with true files, and change from there. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n, size_t max, unsigned seed)
{
    if (n < 2 || seed % 16 == 0)
        return add_piece(data, n ? n : 1, max, seed >> 4);
    return LLVMFuzzerMutate(data, n, max);
}
