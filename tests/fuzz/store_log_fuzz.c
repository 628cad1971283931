/* Recovery of a commit log of any bytes.
 *
 *   byte 0: 1 the last stop was not orderly; 2 there is a checkpoint; 4 forceVerifyPropCRC;
 *           8 the last file keeps its length (else it gets zeros); 0x30 files missing at the front;
 *           0x40 the second open finds a killed process
 *   bytes 1 to 16, with a checkpoint: its first two fields
 *   the rest: the log, cut into files
 *
 * There are no consume queues, so recovery reads the whole log, and what it must find is known
 * exactly: fuzz_store.h's model of these bytes. The mutator repairs checksums and offsets of records
 * and adds records, otherwise no input would get past the first of them. */
#include <stdlib.h>

#include "base/crc.h"
#include "tests/fuzz/fuzz_store.h"
#include "tests/fuzz/fuzz_target.h"

enum { KILLED = 1, CHECKPOINT = 2, FORCE_CRC = 4, SHORT = 8, FIRST_SHIFT = 4, KILLED_AGAIN = 0x40,
       FILES_MAX = 3, LOG_MAX = FILES_MAX * FUZZ_LOG_FILE };

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    fuzz_store_init();
    return 0;
}

static int64_t first_start(uint8_t flags)
{
    return (flags >> FIRST_SHIFT & 3) * FUZZ_LOG_FILE;
}

static size_t log_begins(uint8_t flags)
{
    return flags & CHECKPOINT ? 17 : 1;
}

static void put_log(struct slice log, uint8_t flags)
{
    static char padded[FUZZ_LOG_FILE];
    int64_t start = first_start(flags);
    for (size_t at = 0; at < log.n; at += FUZZ_LOG_FILE, start += FUZZ_LOG_FILE) {
        char path[64];
        const size_t n = log.n - at < FUZZ_LOG_FILE ? log.n - at : FUZZ_LOG_FILE;
        memset(padded, 0, sizeof padded);
        memcpy(padded, log.p + at, n);
        fuzz_store_path_log(start, path);
        fuzz_disk_put(path, slice_of(padded, flags & SHORT ? n : sizeof padded));
    }
}

static void put_checkpoint(const uint8_t *fields)
{
    char page[4096] = {0};
    memcpy(page, fields, 16);
    fuzz_disk_put(FUZZ_ROOT "/checkpoint", slice_of(page, sizeof page));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static struct fuzz_model model;
    struct store_opts o;
    struct store_recovery found;
    if (!n || n < log_begins(data[0]) || n - log_begins(data[0]) > LOG_MAX)
        return 0;
    const uint8_t flags = data[0];
    fuzz_disk_reset();
    fuzz_store_opts(&o);
    o.force_verify_prop_crc = flags & FORCE_CRC;
    put_log(slice_of((const char *)data + log_begins(flags), n - log_begins(flags)), flags);
    if (flags & CHECKPOINT)
        put_checkpoint(data + 1);
    if (flags & KILLED)
        fuzz_store_mark_killed();
    fuzz_model_from_log(&model, &o);
    struct store *st = fuzz_store_open(&o, &found);
    if (!st) { /* only what must not be dropped silently keeps a store from opening */
        MQ_ASSERT(flags & CHECKPOINT || (flags & FORCE_CRC && !model.all_crc));
        return 0;
    }
    MQ_ASSERT(found.clean == !(flags & KILLED) && found.records == model.records);
    MQ_ASSERT(!(flags & FORCE_CRC) || model.all_crc);
    fuzz_model_check(&model, st);
    const uint64_t hash = fuzz_store_read(st, true);
    fuzz_store_close(st);
    fuzz_store_check_again(&o, hash, true, flags & KILLED_AGAIN);
    return 0;
}

/* ---- the mutator ---- */

static unsigned next(unsigned *seed)
{
    *seed = *seed * 1103515245u + 12345u;
    return *seed >> 16;
}

/* Where the records of a log end that are well-formed but for checksums and places; repairs those. */
static size_t repair(uint8_t *log, size_t n, int64_t start)
{
    size_t at = 0;
    while (at < n) {
        const size_t file_left = FUZZ_LOG_FILE - at % FUZZ_LOG_FILE, left = n - at < file_left ? n - at : file_left;
        struct message m;
        char *const p = (char *)log + at;
        const int rc = message_decode(slice_of(p, left), 0, &m, NULL);
        if (rc == E_NOTFOUND)
            be32_put(p, (uint32_t)file_left);
        if (rc == E_NOTFOUND || file_left < MESSAGE_BLANK_SIZE) {
            at += file_left;
            continue;
        }
        if (rc)
            break;
        be32_put(p + 8, crc32_body(m.body));
        message_patch(p, m.queue_offset, start + (int64_t)at, m.store_timestamp);
        at += (size_t)m.total_size;
    }
    return at < n ? at : n;
}

static void make_record(struct buf *out, unsigned *seed)
{
    static const char *const topics[] = {"A", "B", "%RETRY%g", "no topic", "SCHEDULE_TOPIC_XXXX"};
    static const int32_t flags[] = {0, 0, 0, 0, SYSFLAG_TX_PREPARED, SYSFLAG_TX_COMMIT, SYSFLAG_TX_ROLLBACK,
                                    SYSFLAG_INNER_BATCH};
    static const int64_t offsets[] = {0, 1, 2, 3, 4, 5, 7, 8, 9, 17, 1000, -1, INT64_MAX / 40, INT64_MAX};
    static char body[600];
    const size_t body_n = next(seed) % 8 ? next(seed) % 40 : next(seed) % sizeof body;
    fuzz_record_put(out, &(struct fuzz_record){
        .topic = topics[next(seed) % 5], .keys = next(seed) % 2 ? "k" : NULL,
        .queue_id = (int32_t)(next(seed) % 3) - (next(seed) % 16 == 0),
        .sys_flag = flags[next(seed) % 8], .queue_offset = offsets[next(seed) % 14],
        .store_timestamp = FUZZ_START_MS + next(seed) % 5000, .body = slice_of(body, body_n),
        .prop_crc = next(seed) % 3});
}

/* Behind the records: a new one, or the end of the file. */
static size_t add_record(uint8_t *log, size_t n, size_t end, size_t max, unsigned *seed)
{
    struct buf record;
    buf_init(&record, 0);
    const size_t left = FUZZ_LOG_FILE - end % FUZZ_LOG_FILE;
    make_record(&record, seed);
    if (record.n + MESSAGE_BLANK_SIZE > left || next(seed) % 16 == 0) {
        buf_clear(&record);
        buf_be32(&record, (uint32_t)left);
        buf_be32(&record, (uint32_t)MESSAGE_MAGIC_BLANK);
        if (left < record.n)
            buf_clear(&record);
        char *p = buf_extend(&record, left - record.n);
        MQ_ASSERT(p);
        memset(p, 0, left - (size_t)(p - record.p));
    }
    if (record.n <= max - end) {
        memcpy(log + end, record.p, record.n);
        n = end + record.n > n ? end + record.n : n;
    }
    buf_free(&record);
    return n;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n, size_t max, unsigned seed)
{
    if (!n || next(&seed) % 4)
        n = LLVMFuzzerMutate(data, n, max);
    if (n <= log_begins(data[0]) || next(&seed) % 8 == 0)
        return n;
    const size_t head = log_begins(data[0]);
    const int64_t start = first_start(data[0]);
    size_t room = max - head < LOG_MAX ? max - head : LOG_MAX, log_n = n - head < room ? n - head : room;
    size_t end = repair(data + head, log_n, start);
    for (unsigned more = next(&seed) % 4; more; more--) {
        log_n = add_record(data + head, log_n, end, room, &seed);
        end = repair(data + head, log_n, start);
    }
    return head + log_n;
}
