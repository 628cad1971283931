/* base/crc.c: the same numbers as zlib, whole and in pieces. */
#include "tests/support/test.h"

#include <zlib.h>

#include "base/crc.h"
#include "tests/support/seed.h"

static void the_check_value_of_the_standard(void **state)
{
    (void)state;
    assert_int_equal(crc32_update(0, "123456789", 9), 0xCBF43926);
}

static void random_input_gives_what_zlib_gives(void **state)
{
    (void)state;
    static unsigned char data[70000];
    struct rng rng = test_rng("crc");
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (unsigned char)rng_u64(&rng);
    for (int i = 0; i < 2000; i++) {
        size_t from = rng_below(&rng, 64), n = rng_below(&rng, i % 10 ? 300 : sizeof data - 64);
        size_t cut = n ? rng_below(&rng, n) : 0;
        uint32_t want = (uint32_t)crc32(0, data + from, (uInt)n);
        assert_int_equal(crc32_update(0, data + from, n), want);
        uint32_t pieces =
            crc32_update(crc32_update(0, data + from, cut), data + from + cut, n - cut);
        assert_int_equal(pieces, want);
    }
}

static void a_body_has_the_sign_bit_cleared_and_none_has_zero(void **state)
{
    (void)state;
    assert_int_equal(crc32_body(SLICE_NULL), 0);
    assert_int_equal(crc32_body(SLICE_LIT("123456789")), 0x4BF43926);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_check_value_of_the_standard),
        cmocka_unit_test(random_input_gives_what_zlib_gives),
        cmocka_unit_test(a_body_has_the_sign_bit_cleared_and_none_has_zero),
    };
    return cmocka_run_group_tests_name("crc", tests, NULL, NULL);
}
