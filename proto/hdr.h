#pragma once
/* Typed headers: the C structs of headers.def and their descriptors.
 *
 * A header travels as the "ext fields" of a command: string to string. Decoding fills a struct whose
 * strings borrow from the command; encoding appends ext fields. V1 and V2 of the send header are one
 * struct with two columns of wire names. */
#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"

enum hdr_names { HDR_LONG, HDR_SHORT };

#define HDR_CTYPE_str struct slice
#define HDR_CTYPE_i32 int32_t
#define HDR_CTYPE_i64 int64_t
#define HDR_CTYPE_flag bool

#define F(kind, name, wire, wire_short, presence, def) HDR_CTYPE_##kind name;
#define HDR(name, ...)                                                                             \
    struct hdr_##name {                                                                            \
        __VA_ARGS__                                                                                \
    };
#include "proto/headers.def"
#undef HDR
#undef F

enum hdr_kind { HDR_KIND_str, HDR_KIND_i32, HDR_KIND_i64, HDR_KIND_flag };
struct hdr_field {
    enum hdr_kind kind;
    bool required;
    struct slice wire[2]; /* by enum hdr_names; an empty short name means: the long one */
    size_t offset;
    int64_t def;
};
struct hdr_desc {
    const char *name;
    const struct hdr_field *fields;
    size_t n, size;
};

#define HDR(name, ...) extern const struct hdr_desc hdr_desc_##name;
#include "proto/headers.def"
#undef HDR

struct ext_field {
    struct slice key, value;
};

/* Fills *out (desc->size bytes). Unknown fields are ignored. E_PROTO names header and field: a missing
 * required one, or a number that is none. Source: RemotingCommand.decodeCommandCustomHeader, which
 * leaves null and fails later with code 1; we fail here with code 1 and a text that says why. */
int hdr_decode(const struct hdr_desc *desc, enum hdr_names names, const struct ext_field *ext,
               size_t ext_n, void *out, struct err *e) HP_MUST_USE;
/* The text that field `f` of *hdr travels as. False: it is left out, being a null string or an optional
 * number or flag that equals its default (Java leaves null members out). `scratch` holds numbers. */
enum { HDR_SCRATCH = 20 };
bool hdr_field_text(const struct hdr_field *f, const void *hdr, char scratch[HDR_SCRATCH],
                    struct slice *out);
/* The first required field that hdr_field_text would leave out, NULL when the header is complete. */
const struct hdr_field *hdr_missing(const struct hdr_desc *desc, const void *hdr);
static inline struct slice hdr_wire_name(const struct hdr_field *f, enum hdr_names names)
{
    return f->wire[names].n ? f->wire[names] : f->wire[HDR_LONG];
}
/* One line "topic=T queueId=3 ..." for logs. */
void hdr_dump(const struct hdr_desc *desc, const void *hdr, struct buf *out);
