/* A checkpoint of any bytes, in a store that nothing else is wrong with.
 *
 *   byte 0: 1 the last stop was not orderly; 2 there is no indexCheckpoint; 4 the second open finds a
 *           killed process
 *   the rest: the file
 *
 * The checkpoint only says where recovery may begin: whatever it says, every message is there, and is
 * found by its key. */
#include "tests/fuzz/fuzz_base.h"
#include "tests/fuzz/fuzz_target.h"

enum { KILLED = 1, NO_INDEX_STATE = 2, KILLED_AGAIN = 4 };

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    fuzz_store_init();
    fuzz_base_init(FUZZ_BASE_SMALL);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct store_opts o;
    struct store_recovery found;
    if (!n)
        return 0;
    const uint8_t flags = data[0];
    fuzz_base_restore(&o);
    fuzz_disk_put(FUZZ_ROOT "/checkpoint", slice_of((const char *)data + 1, n - 1));
    if (flags & NO_INDEX_STATE)
        fuzz_disk_remove(FUZZ_ROOT "/indexCheckpoint");
    if (flags & KILLED)
        fuzz_store_mark_killed();
    struct store *st = fuzz_store_open(&o, &found);
    MQ_ASSERT(st && found.dropped_bytes == 0);
    fuzz_model_check(fuzz_base_model(), st);
    const uint64_t hash = fuzz_store_read(st, true);
    fuzz_base_query(st, true);
    fuzz_store_close(st);
    fuzz_store_check_again(&o, hash, true, flags & KILLED_AGAIN);
    return 0;
}
