#pragma once
/* The fixed parts of every file of the store, as structs of bytes: sizes and offsets are the compiler's,
 * checked below against docs/STORE_FORMAT.md by number, and tests/unit/store/layout_test.c checks the
 * numbers in that document against these structs. All integers are big-endian (be32_get, be64_put):
 * a member is the place of a number, never the number.
 *
 * Only chars, so there is no padding and no alignment: a struct may be laid over any byte of a file. */
#include <stddef.h>

/* Section 2: a record up to the sender's address. What follows has no fixed place: proto/message.c. */
struct disk_record_head {
    char total_size[4], magic[4], body_crc[4], queue_id[4], flag[4];
    char queue_offset[8], phys_offset[8];
    char sys_flag[4];
    char born_timestamp[8];
};
struct disk_blank { /* ends a log file */
    char left[4], magic[4];
};
struct disk_prop_crc { /* section 2.1: the last bytes of a record with a checksum */
    char name[8], is[1], digits[10], end[1];
};

/* Section 3 */
struct disk_cq_unit {
    char phys_offset[8], size[4], tags_code[8];
};

/* Section 4 */
struct disk_checkpoint {
    char physic_ts[8], logics_ts[8], index_ts[8], master_flushed[8], confirm_phys[8];
    char zeros[464];     /* room for what RocketMQ may add */
    char age_from_ts[8]; /* ours, last of the first sector */
    char more_zeros[3584];
};

/* Section 5 */
struct disk_index_header {
    char begin_ts[8], end_ts[8], begin_phys[8], end_phys[8], slots_used[4], count[4];
};
struct disk_index_slot {
    char newest[4];
};
struct disk_index_item {
    char hash[4], phys[8], seconds[4], prev[4];
};
struct disk_index_state { /* indexCheckpoint */
    char magic[4], version[4], name[8], phys[8], count[4], slots[4], crc[4];
};

#define DISK_AT(type, member, at) \
    _Static_assert(offsetof(struct type, member) == (at), #type "." #member " is not at byte " #at)
#define DISK_SIZE(type, n) _Static_assert(sizeof(struct type) == (n), #type " has not " #n " bytes")

DISK_SIZE(disk_record_head, 48);
DISK_AT(disk_record_head, total_size, 0);
DISK_AT(disk_record_head, magic, 4);
DISK_AT(disk_record_head, body_crc, 8);
DISK_AT(disk_record_head, queue_id, 12);
DISK_AT(disk_record_head, flag, 16);
DISK_AT(disk_record_head, queue_offset, 20);
DISK_AT(disk_record_head, phys_offset, 28);
DISK_AT(disk_record_head, sys_flag, 36);
DISK_AT(disk_record_head, born_timestamp, 40);

DISK_SIZE(disk_blank, 8);
DISK_AT(disk_blank, left, 0);
DISK_AT(disk_blank, magic, 4);

DISK_SIZE(disk_prop_crc, 20);
DISK_AT(disk_prop_crc, name, 0);
DISK_AT(disk_prop_crc, is, 8);
DISK_AT(disk_prop_crc, digits, 9);
DISK_AT(disk_prop_crc, end, 19);

DISK_SIZE(disk_cq_unit, 20);
DISK_AT(disk_cq_unit, phys_offset, 0);
DISK_AT(disk_cq_unit, size, 8);
DISK_AT(disk_cq_unit, tags_code, 12);

DISK_SIZE(disk_checkpoint, 4096);
DISK_AT(disk_checkpoint, physic_ts, 0);
DISK_AT(disk_checkpoint, logics_ts, 8);
DISK_AT(disk_checkpoint, index_ts, 16);
DISK_AT(disk_checkpoint, master_flushed, 24);
DISK_AT(disk_checkpoint, confirm_phys, 32);
DISK_AT(disk_checkpoint, zeros, 40);
DISK_AT(disk_checkpoint, age_from_ts, 504);
_Static_assert(offsetof(struct disk_checkpoint, more_zeros) <= 512,
               "the checkpoint's fields lie in one sector: a torn write leaves the old or the new ones");

DISK_SIZE(disk_index_header, 40);
DISK_AT(disk_index_header, begin_ts, 0);
DISK_AT(disk_index_header, end_ts, 8);
DISK_AT(disk_index_header, begin_phys, 16);
DISK_AT(disk_index_header, end_phys, 24);
DISK_AT(disk_index_header, slots_used, 32);
DISK_AT(disk_index_header, count, 36);

DISK_SIZE(disk_index_slot, 4);
DISK_SIZE(disk_index_item, 20);
DISK_AT(disk_index_item, hash, 0);
DISK_AT(disk_index_item, phys, 4);
DISK_AT(disk_index_item, seconds, 12);
DISK_AT(disk_index_item, prev, 16);

DISK_SIZE(disk_index_state, 36);
DISK_AT(disk_index_state, magic, 0);
DISK_AT(disk_index_state, version, 4);
DISK_AT(disk_index_state, name, 8);
DISK_AT(disk_index_state, phys, 16);
DISK_AT(disk_index_state, count, 24);
DISK_AT(disk_index_state, slots, 28);
DISK_AT(disk_index_state, crc, 32);

#undef DISK_AT
#undef DISK_SIZE
