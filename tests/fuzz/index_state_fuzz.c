/* An indexCheckpoint of any bytes, in a store that nothing else is wrong with.
 *
 *   byte 0: 1 the last stop was not orderly; 2 the checksum is made right; 4 the name is that of a file
 *           that is there (8: the first, else the last)
 *   the rest: the file
 *
 * A state that is not whole is not believed, and every key is found. One that lies with a right
 * checksum may hide keys, but never finds a wrong record. */
#include "base/crc.h"
#include "tests/fuzz/fuzz_base.h"
#include "tests/fuzz/fuzz_target.h"

enum { KILLED = 1, RIGHT_CRC = 2, RIGHT_NAME = 4, FIRST_NAME = 8, STATE_SIZE = 36 };
#define STATE_PATH FUZZ_ROOT "/indexCheckpoint"

static int64_t names[2]; /* of the first and the last index file */
static char truth[STATE_SIZE];

static int note_name(void *arg, const char *text)
{
    int64_t name;
    (void)arg;
    MQ_ASSERT(!slice_i64(slice_str(text), &name));
    if (!names[0] || name < names[0])
        names[0] = name;
    if (name > names[1])
        names[1] = name;
    return 0;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    struct err e;
    fuzz_store_init();
    fuzz_base_init(FUZZ_BASE_LARGE);
    MQ_ASSERT(!fuzz_disk()->list(fuzz_disk(), FUZZ_ROOT "/index", note_name, NULL, &e) && names[0] < names[1]);
    const struct slice state = fuzz_base_file(STATE_PATH);
    MQ_ASSERT(state.n == sizeof truth);
    memcpy(truth, state.p, sizeof truth);
    return 0;
}

static bool is_whole(struct slice state)
{
    return state.n == STATE_SIZE && be32_get(state.p) == 0x48504958 && be32_get(state.p + 4) == 1 &&
           be32_get(state.p + 32) == crc32_update(0, state.p, 32);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct store_opts o;
    struct store_recovery found;
    char state[64];
    if (!n || n - 1 > sizeof state)
        return 0;
    const uint8_t flags = data[0];
    memcpy(state, data + 1, n - 1);
    if (flags & RIGHT_NAME && n - 1 >= 16)
        be64_put(state + 8, (uint64_t)names[!(flags & FIRST_NAME)]);
    if (flags & RIGHT_CRC && n - 1 >= STATE_SIZE) {
        be32_put(state, 0x48504958);
        be32_put(state + 4, 1);
        be32_put(state + 32, crc32_update(0, state, 32));
    }
    fuzz_base_restore(&o);
    fuzz_disk_put(STATE_PATH, slice_of(state, n - 1));
    if (flags & KILLED)
        fuzz_store_mark_killed();
    const bool complete = !is_whole(slice_of(state, n - 1)) || (n - 1 == sizeof truth && !memcmp(state, truth, n - 1));
    struct store *st = fuzz_store_open(&o, &found);
    MQ_ASSERT(st);
    const uint64_t hash = fuzz_base_query(st, complete);
    fuzz_store_close(st);
    st = fuzz_store_open(&o, &found);
    MQ_ASSERT(st && fuzz_base_query(st, complete) == hash);
    fuzz_store_close(st);
    return 0;
}

/* Inputs begin with the true state, and change from there. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n, size_t max, unsigned seed)
{
    if ((n < 1 + sizeof truth || seed % 64 == 0) && max >= 1 + sizeof truth) {
        data[0] = (uint8_t)(seed >> 8 & 15);
        memcpy(data + 1, truth, sizeof truth);
        n = 1 + sizeof truth;
    }
    return LLVMFuzzerMutate(data, n, max < 65 ? max : 65);
}
