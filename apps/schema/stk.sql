-- stock: goods, their stock in buckets, and the ledger of deductions.
-- version 1, applied once.
CREATE SCHEMA stk;
SELECT kit.service_tables('stk');

CREATE TABLE stk.trade_goods(
  goods_id bigint PRIMARY KEY, goods_name text NOT NULL, goods_price bigint NOT NULL CHECK (goods_price >= 0),
  initial_qty int NOT NULL CHECK (initial_qty >= 0), buckets smallint NOT NULL DEFAULT 1 CHECK (buckets BETWEEN 1 AND 64),
  add_time timestamptz NOT NULL DEFAULT now());
-- A hot item may be spread over several rows, so that buyers do not queue for one row lock. Half-empty
-- pages keep the updates on their page (HOT).
CREATE TABLE stk.goods_stock(
  goods_id bigint REFERENCES stk.trade_goods, bucket smallint CHECK (bucket BETWEEN 0 AND 63),
  available int NOT NULL CHECK (available >= 0), PRIMARY KEY (goods_id, bucket)) WITH (fillfactor = 50);
CREATE TABLE stk.trade_goods_number_log(
  log_id bigserial PRIMARY KEY, goods_id bigint NOT NULL, bucket smallint NOT NULL, order_id bigint NOT NULL,
  log_type smallint NOT NULL CHECK (log_type IN (1,2)), -- 1 deduct, 2 restore
  goods_number int NOT NULL, log_time timestamptz NOT NULL DEFAULT now(),
  UNIQUE (order_id, goods_id, log_type),
  CHECK ((log_type = 1 AND goods_number < 0) OR (log_type = 2 AND goods_number > 0)));
CREATE INDEX ix_goods_log_goods ON stk.trade_goods_number_log(goods_id);
SELECT kit.append_only('stk.trade_goods_number_log');
