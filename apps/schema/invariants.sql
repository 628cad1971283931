-- The invariants of the shop as views in schema audit: each must return no row at quiescence.
-- Runs again whenever it changes. Every view has the columns id (the row to look at; 0 for a total) and
-- detail. audit.invariants lists them, audit.run() counts the offending rows of each.
-- I1, I4 (first half) and I11 also hold at any instant.
CREATE SCHEMA IF NOT EXISTS audit;
CREATE TABLE IF NOT EXISTS audit.invariants(name text PRIMARY KEY, title text NOT NULL);

-- I1 balance equals ledger
CREATE OR REPLACE VIEW audit.i01 AS
SELECT u.user_id AS id, format('balance %s, ledger %s', u.user_money, coalesce(l.s, 0)) AS detail
FROM usr.trade_user u LEFT JOIN (SELECT user_id, sum(use_money) s FROM usr.trade_user_money_log GROUP BY 1) l USING (user_id)
WHERE u.user_money <> coalesce(l.s, 0);

-- I2 deposits equal balances plus money held by live orders
CREATE OR REPLACE VIEW audit.i02 AS
SELECT 0::bigint AS id, format('deposits %s, balances %s, held %s', d, b, h) AS detail
FROM (SELECT (SELECT coalesce(sum(use_money), 0) FROM usr.trade_user_money_log WHERE money_log_type = 0) d,
             (SELECT coalesce(sum(user_money), 0) FROM usr.trade_user) b,
             (SELECT coalesce(sum(money_paid), 0) FROM ord.trade_order WHERE order_status = 1) h) x
WHERE d <> b + h;

-- I3 wallet rows agree with the verdict of each order
CREATE OR REPLACE VIEW audit.i03 AS
SELECT coalesce(o.order_id, l.order_id) AS id, format('status %s, money_paid %s, net %s, payments %s, refunds %s',
  o.order_status, o.money_paid, l.net, l.p, l.r) AS detail
FROM ord.trade_order o FULL JOIN (
  SELECT order_id, sum(-use_money) net, count(*) FILTER (WHERE money_log_type = 1) p, count(*) FILTER (WHERE money_log_type = 2) r
  FROM usr.trade_user_money_log WHERE money_log_type > 0 GROUP BY 1) l USING (order_id)
WHERE CASE WHEN o.order_id IS NULL THEN true
  WHEN o.order_status = 1 THEN coalesce(l.net, 0) <> o.money_paid OR coalesce(l.r, 0) <> 0
  ELSE coalesce(l.net, 0) <> 0 OR coalesce(l.p, 0) <> coalesce(l.r, 0) END;

-- I4 initial stock equals available plus outstanding, outstanding equals live orders
CREATE OR REPLACE VIEW audit.i04 AS
SELECT g.goods_id AS id, format('initial %s, available %s, ledger %s, live orders %s', g.initial_qty, a.n, l.n, o.n) AS detail
FROM stk.trade_goods g
CROSS JOIN LATERAL (SELECT coalesce(sum(goods_number), 0) n FROM stk.trade_goods_number_log WHERE goods_id = g.goods_id) l
CROSS JOIN LATERAL (SELECT coalesce(sum(available), 0) n FROM stk.goods_stock WHERE goods_id = g.goods_id) a
CROSS JOIN LATERAL (SELECT coalesce(sum(i.qty), 0) n FROM ord.trade_order_item i JOIN ord.trade_order USING (order_id)
                    WHERE i.goods_id = g.goods_id AND order_status = 1) o
WHERE g.initial_qty <> a.n - l.n OR -l.n <> o.n;

-- I5 stock rows agree with each order and goods
CREATE OR REPLACE VIEW audit.i05 AS
SELECT coalesce(i.order_id, l.order_id) AS id, format('goods %s: order holds %s, ledger %s', coalesce(i.goods_id, l.goods_id), i.w, l.g) AS detail
FROM (SELECT order_id, goods_id, qty * (order_status = 1)::int w FROM ord.trade_order_item JOIN ord.trade_order USING (order_id)) i
FULL JOIN (SELECT order_id, goods_id, -sum(goods_number) g FROM stk.trade_goods_number_log GROUP BY 1, 2) l USING (order_id, goods_id)
WHERE coalesce(i.w, 0) <> coalesce(l.g, 0);

-- I6 used coupons and live orders with a coupon are the same set
CREATE OR REPLACE VIEW audit.i06 AS
SELECT coalesce(c.coupon_id, o.coupon_id) AS id, format('used for order %s, wanted by order %s', c.order_id, o.order_id) AS detail
FROM (SELECT coupon_id, order_id FROM cpn.trade_coupon WHERE is_used = 1) c
FULL JOIN (SELECT coupon_id, order_id FROM ord.trade_order WHERE order_status = 1 AND coupon_id IS NOT NULL) o
  ON (c.coupon_id, c.order_id) = (o.coupon_id, o.order_id)
WHERE c.coupon_id IS NULL OR o.coupon_id IS NULL;

-- I7 points equal paid orders, account equals ledger
CREATE OR REPLACE VIEW audit.i07 AS
SELECT coalesce(o.order_id, l.order_id) AS id, format('order is worth %s points, ledger %s', o.w, l.g) AS detail
FROM (SELECT order_id, (pay_amount + money_paid) / 100 w FROM ord.trade_order WHERE order_status = 1 AND pay_status = 2) o
FULL JOIN (SELECT order_id, sum(score) g FROM usr.user_score_log GROUP BY 1) l USING (order_id)
WHERE coalesce(o.w, 0) <> coalesce(l.g, 0)
UNION ALL
SELECT u.user_id, format('user has %s points, ledger %s', u.user_score, coalesce(l.s, 0))
FROM usr.trade_user u LEFT JOIN (SELECT user_id, sum(score) s FROM usr.user_score_log GROUP BY 1) l USING (user_id)
WHERE u.user_score <> coalesce(l.s, 0);

-- I8 paid orders and kept payments are the same set
CREATE OR REPLACE VIEW audit.i08 AS
SELECT o.order_id AS id, format('paid by %s, which is in state %s over %s', o.pay_id, p.is_paid, p.pay_amount) AS detail
FROM ord.trade_order o LEFT JOIN pay.trade_pay p USING (pay_id)
WHERE o.pay_status = 2 AND (p.pay_id IS NULL OR p.order_id <> o.order_id OR p.is_paid <> 2 OR p.pay_amount <> o.pay_amount)
UNION ALL
SELECT p.order_id, format('payment %s is kept, no order says so', p.pay_id)
FROM pay.trade_pay p LEFT JOIN ord.trade_order o ON o.pay_id = p.pay_id WHERE p.is_paid = 2 AND o.order_id IS NULL;

-- I9 the books of the provider agree, row by row and in total
CREATE OR REPLACE VIEW audit.i09 AS
SELECT coalesce(c.out_trade_no, p.pay_id) AS id, format('charged %s, refunded %s; payment over %s in state %s', c.amount, c.refunded, p.pay_amount, p.is_paid) AS detail
FROM (SELECT * FROM tp.charge WHERE status = 'CAPTURED') c
FULL JOIN (SELECT * FROM pay.trade_pay WHERE is_paid IN (2,5) AND pay_amount > 0) p ON p.pay_id = c.out_trade_no
WHERE c.out_trade_no IS NULL OR p.pay_id IS NULL OR c.amount <> p.pay_amount
   OR c.refunded <> CASE p.is_paid WHEN 5 THEN p.pay_amount ELSE 0 END
UNION ALL
SELECT 0, format('provider holds %s, paid orders sum to %s', c, o)
FROM (SELECT (SELECT coalesce(sum(amount - refunded), 0) FROM tp.charge WHERE status = 'CAPTURED') c,
             (SELECT coalesce(sum(pay_amount), 0) FROM ord.trade_order WHERE pay_status = 2) o) x
WHERE c <> o;

-- I10 nothing is stuck
CREATE OR REPLACE VIEW audit.i10 AS
SELECT order_id AS id, format('order in state %s/%s since %s', order_status, pay_status, add_time) AS detail
FROM ord.trade_order WHERE order_status IN (0,5) OR (order_status = 1 AND pay_status < 2 AND pay_deadline + interval '120 s' < now())
UNION ALL
SELECT pay_id, format('payment in state %s with acks %s', is_paid, acks)
FROM pay.trade_pay p WHERE is_paid IN (4,6) OR (is_paid = 2 AND acks & 7 <> 7) OR (is_paid = 5 AND acks & 24 <> 24)
  OR (is_paid = 3 AND next_drive_at IS NOT NULL)
  OR (is_paid = 0 AND NOT EXISTS (SELECT 1 FROM ord.trade_order o
                                  WHERE o.order_id = p.order_id AND o.order_status = 1 AND o.pay_status < 2));

-- I11 only legal transitions, at most one terminal state
CREATE OR REPLACE VIEW audit.i11 AS
SELECT order_id AS id, format('edge %s/%s to %s/%s', f, fp, t, tp) AS detail
FROM ord.order_state_log l WHERE f IS NOT NULL AND NOT EXISTS (
  SELECT 1 FROM ord.order_edge e WHERE (e.f, e.fp, e.t, e.tp) = (l.f, l.fp, l.t, l.tp))
UNION ALL
SELECT order_id, format('%s terminal states', count(*))
FROM ord.order_state_log WHERE t IN (2,3) OR (t = 1 AND tp = 2) GROUP BY 1 HAVING count(*) > 1;

-- I12 the payment journal is complete
CREATE OR REPLACE VIEW audit.i12 AS
SELECT pay_id AS id, format('payment in state %s misses a journal row', is_paid) AS detail
FROM pay.trade_pay p
WHERE (is_paid IN (2,4,5,6) AND NOT EXISTS (SELECT 1 FROM plog.pay_log l WHERE l.pay_id = p.pay_id AND event = 'paid'))
   OR (is_paid = 5 AND NOT EXISTS (SELECT 1 FROM plog.pay_log l WHERE l.pay_id = p.pay_id AND event = 'refunded'));

-- I13 every executed try belongs to a live order or has its cancel row
CREATE OR REPLACE VIEW audit.i13 AS
SELECT b.txn_key::bigint AS id, format('stock: try without cancel, order in state %s', o.order_status) AS detail
FROM stk.tx_barrier b LEFT JOIN ord.trade_order o ON o.order_id = b.txn_key::bigint
WHERE b.branch = 'stock' AND b.op = 'T' AND b.reason = 'T' AND (o.order_id IS NULL OR o.order_status = 3
  OR (o.order_status = 2 AND NOT EXISTS (SELECT 1 FROM stk.tx_barrier c WHERE (c.txn_key, c.branch, c.op) = (b.txn_key, b.branch, 'C'))))
UNION ALL
SELECT b.txn_key::bigint AS id, format('coupon: try without cancel, order in state %s', o.order_status) AS detail
FROM cpn.tx_barrier b LEFT JOIN ord.trade_order o ON o.order_id = b.txn_key::bigint
WHERE b.branch = 'coupon' AND b.op = 'T' AND b.reason = 'T' AND (o.order_id IS NULL OR o.order_status = 3
  OR (o.order_status = 2 AND NOT EXISTS (SELECT 1 FROM cpn.tx_barrier c WHERE (c.txn_key, c.branch, c.op) = (b.txn_key, b.branch, 'C'))))
UNION ALL
SELECT b.txn_key::bigint AS id, format('balance: try without cancel, order in state %s', o.order_status) AS detail
FROM usr.tx_barrier b LEFT JOIN ord.trade_order o ON o.order_id = b.txn_key::bigint
WHERE b.branch = 'balance' AND b.op = 'T' AND b.reason = 'T' AND (o.order_id IS NULL OR o.order_status = 3
  OR (o.order_status = 2 AND NOT EXISTS (SELECT 1 FROM usr.tx_barrier c WHERE (c.txn_key, c.branch, c.op) = (b.txn_key, b.branch, 'C'))));

-- I14, the part of it that the database knows: no dead letter waits for somebody. Undecided half messages and
-- the lag of the consumer groups are the broker's.
CREATE OR REPLACE VIEW audit.i14 AS
SELECT letter_id AS id, format('%s gave up %s %s', group_name, tag, msg_key) AS detail
FROM (SELECT * FROM ord.mq_dead_letter UNION ALL SELECT * FROM stk.mq_dead_letter UNION ALL SELECT * FROM cpn.mq_dead_letter
      UNION ALL SELECT * FROM usr.mq_dead_letter UNION ALL SELECT * FROM pay.mq_dead_letter UNION ALL SELECT * FROM plog.mq_dead_letter) l
WHERE state = 'open';

INSERT INTO audit.invariants(name, title) VALUES
  ('i01', 'balance equals ledger'),
  ('i02', 'deposits equal balances plus money held by live orders'),
  ('i03', 'wallet rows agree with the verdict of each order'),
  ('i04', 'initial stock equals available plus outstanding, outstanding equals live orders'),
  ('i05', 'stock rows agree with each order and goods'),
  ('i06', 'used coupons and live orders with a coupon are the same set'),
  ('i07', 'points equal paid orders, account equals ledger'),
  ('i08', 'paid orders and kept payments are the same set'),
  ('i09', 'the books of the provider agree, row by row and in total'),
  ('i10', 'nothing is stuck'),
  ('i11', 'only legal transitions, at most one terminal state'),
  ('i12', 'the payment journal is complete'),
  ('i13', 'every executed try belongs to a live order or has its cancel row'),
  ('i14', 'no dead letter is open')
ON CONFLICT (name) DO UPDATE SET title = excluded.title;

-- One row per invariant; a sample of one detail for the report.
CREATE OR REPLACE FUNCTION audit.run() RETURNS TABLE(name text, title text, violations bigint, sample text)
LANGUAGE plpgsql AS $$
DECLARE
  i record;
BEGIN
  FOR i IN SELECT * FROM audit.invariants v ORDER BY v.name LOOP
    name := i.name;
    title := i.title;
    EXECUTE format('SELECT count(*), min(id || '': '' || detail) FROM audit.%I', i.name) INTO violations, sample;
    RETURN NEXT;
  END LOOP;
END $$;
