/* Records that only their checksums can vouch for.
 *
 * Owns: the bits of a log file that say which of its records were found whole.
 *
 * record_check runs on any thread that reads a record of an earlier run (below commitlog.cold_end), before
 * anybody gets its bytes: disks rot. What is found whole is remembered, one bit for each 64 bytes of the file.
 *
 * A property __CRC32# may also be an application's, through a broker that writes no checksums; then it fits
 * nothing. Who writes checksums lets no foreign one in. So a record that is whole but for it is taken for one
 * with a foreign property unless its neighbour has a checksum that fits: for recovery, which must not drop what
 * was acknowledged behind the last record of another broker, a record before it; for a read the one behind it.
 * With forceVerifyPropCRC none is.
 *
 * Failure modes: no memory for the bits: every read checks. */
#include <assert.h>
#include <stdlib.h>

#include "store/store_priv.h"

static enum behind behind_at(struct store *st, int64_t pos, bool over_blank)
{
    struct store_file *f = commitlog_find(&st->log, pos);
    if (!f)
        return BEHIND_NOTHING;
    struct message m;
    const int64_t left = f->start + f->size - pos, end = f->start + f->size;
    const struct slice bytes = slice_of(f->map + (pos - f->start), (size_t)left);
    enum behind behind = BEHIND_NOTHING;
    bool blank = false;
    switch (record_judge(bytes, left, pos, MESSAGE_CHECK_BODY, &m, NULL)) {
    case RECORD_WHOLE:
        behind = message_has_prop_crc(&m) && !message_decode(bytes, MESSAGE_CHECK_CRC, &m, NULL) ? BEHIND_CHECKSUM
                                                                                                 : BEHIND_SOMETHING;
        break;
    case RECORD_BLANK: blank = true; break;
    case RECORD_BAD: break;
    }
    store_file_unref(f);
    if (!blank)
        return behind;
    return over_blank && behind_at(st, end, false) == BEHIND_CHECKSUM ? BEHIND_CHECKSUM : BEHIND_SOMETHING;
}

bool checksum_fits_nothing(struct store *st, const struct store_file *f, int64_t pos, struct message *m,
                           enum behind *behind)
{
    const int64_t left = f->start + f->size - pos;
    const struct slice bytes = slice_of(f->map + (pos - f->start), (size_t)left);
    if (st->o.force_verify_prop_crc ||
        record_judge(bytes, left, pos, MESSAGE_CHECK_BODY, m, NULL) != RECORD_WHOLE || !message_has_prop_crc(m))
        return false;
    *behind = behind_at(st, pos + m->total_size, true);
    return true;
}

/* What rests on it, the start of a recovery and the age of a file, rests on one number: unlike a record of which
 * nothing else is believed this one needs every checksum, whatever the options say. */
int64_t store_file_first_ts(const struct store_file *f)
{
    struct message m;
    const bool whole = record_judge(slice_of(f->map, (size_t)f->size), f->size, f->start, MESSAGE_CHECK_CRC, &m,
                                    NULL) == RECORD_WHOLE;
    return whole && m.store_timestamp > 0 ? m.store_timestamp : INT64_MAX;
}

/* Records are at least MESSAGE_SIZE_MIN bytes, so each begins in a slot of its own. */
enum { CHECK_SLOT = 64 };
static_assert((int)CHECK_SLOT <= (int)MESSAGE_SIZE_MIN, "two records may not share a slot");

static unsigned char *checked_bits(struct store_file *f)
{
    unsigned char *bits = atomic_load(&f->checked);
    if (bits)
        return bits;
    unsigned char *const mine = calloc((size_t)f->size / CHECK_SLOT / 8 + 1, 1);
    if (atomic_compare_exchange_strong(&f->checked, &bits, mine))
        return mine;
    free(mine);
    return bits;
}

int record_check(struct store *st, struct store_file *f, int64_t phys, int32_t size, struct err *e)
{
    unsigned char *const bits = checked_bits(f);
    const int64_t at = phys - f->start, slot = at / CHECK_SLOT;
    const unsigned char mask = (unsigned char)(1 << slot % 8);
    if (bits && __atomic_load_n(&bits[slot / 8], __ATOMIC_RELAXED) & mask)
        return 0;
    struct message m;
    struct err why;
    enum behind behind;
    if (record_judge(slice_of(f->map + at, (size_t)size), f->size - at, phys, MESSAGE_CHECK_CRC, &m, &why) !=
            RECORD_WHOLE &&
        !(checksum_fits_nothing(st, f, phys, &m, &behind) && behind != BEHIND_CHECKSUM))
        return err_set(e, E_CORRUPT, "%s: the record at byte %lld (physical offset %lld) is damaged: %s", f->path,
                       (long long)at, (long long)phys, why.text);
    if (bits)
        __atomic_fetch_or(&bits[slot / 8], mask, __ATOMIC_RELAXED);
    return 0;
}
