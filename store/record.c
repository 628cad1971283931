/* What the store knows about one record of the log without its files: is it whole, what is derived
 * from it.
 *
 * Owns: nothing. Runs on: recovery, the index worker, and programs that inspect a stopped store.
 *
 * A record is whole when: its length fits its file; its magic is known; all inner lengths add up; the
 * checksums of body and record are right (MESSAGE_CHECK_CRC); its topic has no zero byte; and the
 * physical offset inside it is where it stands. The last check is what keeps bytes of an earlier life of
 * a file, however intact, from being taken for a record. */
#include "proto/names.h"
#include "store/inspect.h"

enum record_kind record_judge(struct slice in, int64_t left, int64_t pos, int flags, struct message *m,
                              struct err *e)
{
    if (left < MESSAGE_BLANK_SIZE)
        return RECORD_BLANK;
    const int rc = message_decode(in, flags, m, e);
    if (rc == E_NOTFOUND) {
        if (m->total_size == left)
            return RECORD_BLANK;
        err_set(e, E_CORRUPT, "blank record: says that %d bytes are left in the file, there are %lld", m->total_size,
                (long long)left);
        return RECORD_BAD;
    }
    if (rc)
        return RECORD_BAD;
    if (m->phys_offset != pos) {
        err_set(e, E_CORRUPT, "record: says that it stands at %lld, it stands at %lld", (long long)m->phys_offset,
                (long long)pos);
        return RECORD_BAD;
    }
    /* No writer puts a zero byte into a topic: there the record is torn, and no checksum tells. */
    if (memchr(m->topic.p, 0, m->topic.n)) {
        err_set(e, E_CORRUPT, "record: a zero byte in its topic");
        return RECORD_BAD;
    }
    return RECORD_WHOLE;
}

bool record_takes_unit(const struct message *m)
{
    const int32_t tx = m->sys_flag & SYSFLAG_TX_MASK;
    return tx != SYSFLAG_TX_PREPARED && tx != SYSFLAG_TX_ROLLBACK && !(m->sys_flag & SYSFLAG_INNER_BATCH);
}

bool record_delay_level(const struct message *m, int32_t *level)
{
    return slice_eq(m->topic, SLICE_LIT(TOPIC_SCHEDULE)) &&
           !slice_i32(props_str_get(m->properties, PROP_DELAY), level) && *level > 0;
}

struct record_keys record_keys_of(const struct message *m)
{
    if ((m->sys_flag & SYSFLAG_TX_MASK) == SYSFLAG_TX_ROLLBACK)
        return (struct record_keys){SLICE_NULL, SLICE_NULL};
    return (struct record_keys){props_str_get(m->properties, PROP_UNIQ_KEY), props_str_get(m->properties, PROP_KEYS)};
}

bool record_keys_next(struct record_keys *k, struct slice *key)
{
    *key = k->uniq;
    k->uniq = SLICE_NULL;
    while (!key->n)
        if (!slice_cut(&k->words, ' ', key))
            return false;
    return true;
}
