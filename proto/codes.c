/* The table of request codes, made from codes.def.
 *
 * Two expansions of the same rows: the rows themselves, and a switch from number to row. The
 * compiler turns the switch into jump tables (numbers reach from 10 to beyond 200000, too sparse
 * for an array), and refuses a number that occurs twice. Constant data; any thread. */
#include "proto/command.h"

enum {
#define CODE(name, number, req, names, resp) ROW_##name,
#include "proto/codes.def"
#undef CODE
    ROW_COUNT
};

static const struct code_row rows[ROW_COUNT] = {
#define CODE(name, number, req, names, resp)                                                       \
    [ROW_##name] = {(number), #name, &hdr_desc_##req, HDR_##names, &hdr_desc_##resp},
#include "proto/codes.def"
#undef CODE
};

const struct code_row *code_row_of(int32_t code)
{
    switch (code) {
#define CODE(name, number, req, names, resp)                                                       \
    case (number):                                                                                 \
        return &rows[ROW_##name];
#include "proto/codes.def"
#undef CODE
    default: return NULL;
    }
}
