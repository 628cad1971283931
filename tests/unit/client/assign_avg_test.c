/* client/assign_avg.c: a table of cases, and that shares always cover every queue once. */
#include "tests/support/test.h"

#include "client/assign_avg.h"

static void the_share_of_each_member_is_the_one_java_computes(void **state)
{
    (void)state;
    static const struct {
        size_t queues, members, own, first, n;
    } cases[] = {
        {8, 1, 0, 0, 8}, {8, 2, 0, 0, 4}, {8, 2, 1, 4, 4}, {8, 3, 0, 0, 3}, {8, 3, 1, 3, 3},
        {8, 3, 2, 6, 2}, {4, 8, 3, 3, 1}, {4, 8, 4, 4, 0}, {4, 8, 7, 4, 0}, {1, 2, 0, 0, 1},
        {1, 2, 1, 1, 0}, {0, 3, 1, 0, 0}, {7, 4, 0, 0, 2}, {7, 4, 3, 6, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct share s = assign_avg(cases[i].queues, cases[i].members, cases[i].own);
        assert_int_equal(s.n, cases[i].n);
        if (s.n)
            assert_int_equal(s.first, cases[i].first);
    }
}

static void the_shares_of_all_members_cover_every_queue_once(void **state)
{
    (void)state;
    for (size_t queues = 0; queues < 40; queues++) {
        for (size_t members = 1; members < 20; members++) {
            size_t next = 0;
            for (size_t own = 0; own < members; own++) {
                const struct share s = assign_avg(queues, members, own);
                if (s.n)
                    assert_int_equal(s.first, next);
                next += s.n;
            }
            assert_int_equal(next, queues);
        }
    }
}

static void who_is_not_a_member_gets_nothing(void **state)
{
    (void)state;
    assert_int_equal(assign_avg(8, 2, 2).n, 0);
    assert_int_equal(assign_avg(8, 0, 0).n, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_share_of_each_member_is_the_one_java_computes),
        cmocka_unit_test(the_shares_of_all_members_cover_every_queue_once),
        cmocka_unit_test(who_is_not_a_member_gets_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
