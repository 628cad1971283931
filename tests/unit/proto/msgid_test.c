#include "proto/message.h"

#include "tests/unit/proto/vectors.h"

static void check_id(const char *addr, int64_t offset, const char *want)
{
    struct host h, back;
    char id[MSG_ID_MAX];
    int64_t offset_back;
    assert_int_equal(host_parse(slice_str(addr), &h), 0);
    offset_msg_id(&h, offset, id);
    assert_string_equal(id, want);
    assert_int_equal(offset_msg_id_parse(slice_str(id), &back, &offset_back), 0);
    assert_memory_equal(&back, &h, sizeof h);
    assert_int_equal(offset_back, offset);
}

static void ids_have_the_text_of_java(void **state)
{
    (void)state;
    check_id("10.0.0.2:10911", 0x1234, "0A00000200002A9F0000000000001234");
    check_id("[2001:db8::1]:10911", 0x1234,
             "20010DB800000000000000000000000100002A9F0000000000001234");
    check_id("255.255.255.255:65535", INT64_MAX, "FFFFFFFF0000FFFF7FFFFFFFFFFFFFFF");
}

static void lower_case_is_read_too(void **state)
{
    struct host h;
    int64_t offset;
    (void)state;
    assert_int_equal(
        offset_msg_id_parse(slice_str("0a00000200002a9f000000000000abCD"), &h, &offset), 0);
    assert_int_equal(offset, 0xABCD);
    assert_int_equal(h.port, 10911);
}

static void other_text_is_no_id(void **state)
{
    static const char *const bad[] = {"",
                                      "0A",
                                      "0A00000200002A9F000000000000123",
                                      "0A00000200002A9F00000000000012345",
                                      "0A00000200002A9F000000000000123G",
                                      "20010DB800000000000000000000000100002A9F000000000000123",
                                      "-A00000200002A9F0000000000001234"};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct host h = {.len = 9};
        int64_t offset = 9;
        assert_int_equal(offset_msg_id_parse(slice_str(bad[i]), &h, &offset), E_INVAL);
        assert_int_equal(h.len, 9);
        assert_int_equal(offset, 9);
    }
}

static void hashes_are_those_of_java_strings(void **state)
{
    (void)state;
    assert_int_equal(java_string_hash(slice_str("")), 0);
    assert_int_equal(java_string_hash(slice_str("TagA")), 2598919);
    assert_int_equal(java_string_hash(slice_str("中文")), 646394);
    assert_int_equal(java_string_hash(slice_str("😀")), 1772899);
    assert_int_equal(java_string_hash(slice_str("abcdefghijklmnop")), -2093879032);
    assert_int_equal(java_string_hash(slice_str("AaAa")), java_string_hash(slice_str("BBBB")));
    assert_int_equal(java_string_hash(slice_str("\xff")), 0xFFFD);
    assert_int_equal(java_string_hash(SLICE_NULL), 0);
}

static void tag_codes_are_sign_extended(void **state)
{
    (void)state;
    assert_int_equal(tags_code(slice_str("TAGS\1abcdefghijklmnop\2")), -2093879032);
    assert_int_equal(tags_code(slice_str("KEYS\1k\2TAGS\1TagA")), 2598919);
    assert_int_equal(tags_code(slice_str("KEYS\1k\2")), 0);
    assert_int_equal(tags_code(SLICE_NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_have_the_text_of_java),
        cmocka_unit_test(lower_case_is_read_too),
        cmocka_unit_test(other_text_is_no_id),
        cmocka_unit_test(hashes_are_those_of_java_strings),
        cmocka_unit_test(tag_codes_are_sign_extended),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
