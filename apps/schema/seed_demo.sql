-- Goods, users and coupons of the demonstration. May run again: what exists stays.
INSERT INTO stk.trade_goods(goods_id, goods_name, goods_price, initial_qty, buckets) VALUES
  (1001, 'Mechanical keyboard', 19900, 100, 1), (1002, 'Desk lamp', 4500, 200, 1),
  (1003, 'Last signed poster', 8800, 1, 1), (1004, 'Notebook, three pieces', 990, 1000, 4)
ON CONFLICT DO NOTHING;
INSERT INTO stk.goods_stock(goods_id, bucket, available)
  SELECT g.goods_id, b, g.initial_qty / g.buckets + (b < g.initial_qty % g.buckets)::int
  FROM stk.trade_goods g, generate_series(0, g.buckets - 1) b WHERE g.goods_id BETWEEN 1001 AND 1004
ON CONFLICT DO NOTHING;

WITH born AS (
  INSERT INTO usr.trade_user(user_id, user_name, user_money) VALUES (1, 'Ada', 100000), (2, 'Grace', 5000), (3, 'Edsger', 0)
  ON CONFLICT DO NOTHING RETURNING user_id, user_money)
INSERT INTO usr.trade_user_money_log(user_id, order_id, money_log_type, use_money, balance_after)
  SELECT user_id, -user_id, 0, user_money, user_money FROM born WHERE user_money > 0;

INSERT INTO cpn.trade_coupon(coupon_id, user_id, coupon_price, min_amount, valid_from, valid_to) VALUES
  (501, 1, 2000, 10000, now() - interval '1 day', now() + interval '30 days'),
  (502, 2, 1000, 5000, now() - interval '1 day', now() + interval '30 days'),
  (503, 2, 1000, 0, now() - interval '30 days', now() - interval '1 day')
ON CONFLICT DO NOTHING;
