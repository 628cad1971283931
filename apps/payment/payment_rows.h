#pragma once
/* How the two repositories read a row of trade_pay. */
#include "apps/payment/payment.h"

#define PAY_COLUMNS                                                                                                    \
    "pay_id, order_id, user_id, pay_amount, is_paid, acks, suspect, coalesce(to_char(pay_deadline AT TIME ZONE 'UTC'," \
    " 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"'), '') AS pay_deadline"

void pay_read_row(struct db_rows *r, int row, struct payment *p);
