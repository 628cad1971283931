-- payment: payments, and the gate that orders opening against closing.
-- version 1, applied once.
CREATE SCHEMA pay;
SELECT kit.service_tables('pay');

-- is_paid 0 open, 2 paid, 3 closed, 4 refunding, 5 refunded, 6 refund failed.
-- acks: 1 order, 2 points, 4 journal (of paid); 8 points, 16 journal (of refunded).
CREATE TABLE pay.trade_pay(
  pay_id bigint PRIMARY KEY, order_id bigint NOT NULL, user_id bigint NOT NULL,
  pay_amount bigint NOT NULL CHECK (pay_amount >= 0),
  is_paid smallint NOT NULL DEFAULT 0 CHECK (is_paid IN (0,2,3,4,5,6)),
  provider_txn_id text UNIQUE, acks smallint NOT NULL DEFAULT 0 CHECK (acks BETWEEN 0 AND 31),
  next_drive_at timestamptz, drive_count int NOT NULL DEFAULT 0, pay_deadline timestamptz,
  suspect boolean NOT NULL DEFAULT false,
  add_time timestamptz NOT NULL DEFAULT now(), paid_time timestamptz, refund_time timestamptz);
-- Open payments only: a late callback for an older payment must still be recordable.
CREATE UNIQUE INDEX uq_pay_open ON pay.trade_pay(order_id) WHERE is_paid = 0;
CREATE INDEX ix_pay_order ON pay.trade_pay(order_id);
CREATE INDEX ix_pay_drive ON pay.trade_pay(next_drive_at) WHERE next_drive_at IS NOT NULL;
CREATE TABLE pay.order_gate(order_id bigint PRIMARY KEY, closed boolean NOT NULL DEFAULT false);
