#include "tests/unit/proto/vectors.h"

static void every_row_is_found_by_its_number(void **state)
{
    (void)state;
#define CODE(id, number, req, names_, resp)                                                      \
    {                                                                                              \
        const struct code_row *const row = code_row_of(number);                                    \
        assert_non_null(row);                                                                      \
        assert_int_equal(row->code, RC_##id);                                                    \
        assert_string_equal(row->name, #id);                                                     \
        assert_ptr_equal(row->request, &hdr_desc_##req);                                           \
        assert_int_equal(row->names, HDR_##names_);                                                \
        assert_ptr_equal(row->response, &hdr_desc_##resp);                                         \
    }
#include "proto/codes.def"
#undef CODE
}

static void other_numbers_have_no_row(void **state)
{
    static const int32_t unknown[] = {0, -1, 9, 13, 309, 311, 905, 1 << 20, INT32_MAX, INT32_MIN};
    (void)state;
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++)
        assert_null(code_row_of(unknown[i]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_is_found_by_its_number),
        cmocka_unit_test(other_numbers_have_no_row),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
