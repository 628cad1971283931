/* Unit tests of broker/respcode.c. */
#include "broker/respcode.h"

#include <assert.h>
#include <stdio.h>

#include "broker/broker.h"
#include "tests/support/test.h"

static const struct broker_conf conf = {.max_message_size = 4194304};

static void every_put_status_has_the_code_and_name_of_the_real_broker(void **state)
{
    (void)state;
    static const struct { enum put_status s; int32_t code; const char *name; } want[] = {
        {PUT_OK, 0, "PUT_OK"},
        {PUT_FLUSH_TIMEOUT, 10, "FLUSH_DISK_TIMEOUT"},
        {PUT_ILLEGAL, 13, "MESSAGE_ILLEGAL"},
        {PUT_PROPERTIES_TOO_BIG, 13, "PROPERTIES_SIZE_EXCEEDED"},
        {PUT_UNAVAILABLE, 14, "SERVICE_NOT_AVAILABLE"},
        {PUT_DISK_FULL, 14, "SERVICE_NOT_AVAILABLE"},
        {PUT_NO_FILE, 1, "CREATE_MAPPED_FILE_FAILED"},
        {PUT_TIMER_DISABLED, 1, "WHEEL_TIMER_NOT_ENABLE"},
        {PUT_NO_MEMORY, 1, "UNKNOWN_ERROR"}};
    static_assert(sizeof want / sizeof *want == PUT_STATUS_N, "a status without a test");
    struct broker b = {.conf = &conf};
    for (size_t i = 0; i < PUT_STATUS_N; i++) {
        char remark[400];
        assert_int_equal(respcode_of_put(&b, want[i].s, remark, sizeof remark), want[i].code);
        assert_string_equal(put_status_name(want[i].s), want[i].name);
    }
}

static void the_limit_in_the_remark_is_the_configured_one(void **state)
{
    (void)state;
    char remark[400];
    struct broker b = {.conf = &conf};
    respcode_of_put(&b, PUT_ILLEGAL, remark, sizeof remark);
    assert_contains(remark, "msg body length limit 4194304B");
}

static void a_failed_store_tells_its_reason(void **state)
{
    (void)state;
    char remark[400];
    struct broker b = {.conf = &conf};
    respcode_of_put(&b, PUT_UNAVAILABLE, remark, sizeof remark);
    assert_contains(remark, "shutting down");
    snprintf(b.failed_reason, sizeof b.failed_reason, "sync of file 7: I/O error");
    b.failed = true;
    respcode_of_put(&b, PUT_UNAVAILABLE, remark, sizeof remark);
    assert_contains(remark, "service not available now.");
    assert_contains(remark, "sync of file 7: I/O error");
}

static void a_full_disk_tells_its_ratios(void **state)
{
    (void)state;
    char remark[400];
    const struct broker_conf ratios = {.disk_warning = 88, .disk_clean_forcibly = 81};
    struct broker b = {.conf = &ratios};
    respcode_of_put(&b, PUT_DISK_FULL, remark, sizeof remark);
    assert_contains(remark, "service not available now. The broker's disk is full: more than 88 percent");
    assert_contains(remark, "accepted again at 81 percent");
}

static void errors_map_to_codes_that_clients_know(void **state)
{
    (void)state;
    assert_int_equal(respcode_of_err(0), RESP_SUCCESS);
    assert_int_equal(respcode_of_err(E_INVAL), RESP_INVALID_PARAMETER);
    assert_int_equal(respcode_of_err(E_BUSY), RESP_SYSTEM_BUSY);
    assert_int_equal(respcode_of_err(E_DENIED), RESP_NO_PERMISSION);
    assert_int_equal(respcode_of_err(E_FAILED), RESP_SERVICE_NOT_AVAILABLE);
    assert_int_equal(respcode_of_err(E_PROTO), RESP_SYSTEM_ERROR);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_put_status_has_the_code_and_name_of_the_real_broker),
        cmocka_unit_test(the_limit_in_the_remark_is_the_configured_one),
        cmocka_unit_test(a_failed_store_tells_its_reason),
        cmocka_unit_test(a_full_disk_tells_its_ratios),
        cmocka_unit_test(errors_map_to_codes_that_clients_know),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
