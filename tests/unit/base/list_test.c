/* base/list.h: order, removal while walking, and moving a whole list. */
#include "tests/support/test.h"

#include "base/list.h"

struct item {
    int n;
    struct list link;
};

static int number(struct list *l)
{
    return LIST_ENTRY(l, struct item, link)->n;
}

static void fill(struct list *head, struct item *items, int n)
{
    list_init(head);
    for (int i = 0; i < n; i++) {
        items[i].n = i;
        list_push_back(head, &items[i].link);
    }
}

static void order_is_that_of_insertion(void **state)
{
    (void)state;
    struct list head;
    struct item items[4];
    fill(&head, items, 3);
    items[3].n = -1;
    list_push_front(&head, &items[3].link);
    int want = -1;
    LIST_FOREACH(l, &head)
        assert_int_equal(number(l), want++);
    assert_int_equal(want, 3);
}

static void the_current_element_may_go_while_walking(void **state)
{
    (void)state;
    struct list head;
    struct item items[5];
    fill(&head, items, 5);
    LIST_FOREACH_SAFE(l, next, &head)
        if (number(l) % 2 == 0)
            list_remove(l);
    assert_int_equal(number(list_pop_front(&head)), 1);
    assert_int_equal(number(list_pop_front(&head)), 3);
    assert_null(list_pop_front(&head));
}

static void removing_twice_is_harmless(void **state)
{
    (void)state;
    struct list head;
    struct item items[2];
    fill(&head, items, 2);
    list_remove(&items[0].link);
    list_remove(&items[0].link);
    assert_int_equal(number(head.next), 1);
}

static void moving_all_empties_the_source(void **state)
{
    (void)state;
    struct list from, to;
    struct item items[3];
    fill(&from, items, 3);
    list_move_all(&from, &to);
    assert_true(list_empty(&from));
    for (int i = 0; i < 3; i++)
        assert_int_equal(number(list_pop_front(&to)), i);
    list_move_all(&from, &to);
    assert_true(list_empty(&to));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(order_is_that_of_insertion),
        cmocka_unit_test(the_current_element_may_go_while_walking),
        cmocka_unit_test(removing_twice_is_harmless),
        cmocka_unit_test(moving_all_empties_the_source),
    };
    return cmocka_run_group_tests_name("list", tests, NULL, NULL);
}
