-- coupon: coupons and the ledger of their use.
-- version 1, applied once.
CREATE SCHEMA cpn;
SELECT kit.service_tables('cpn');

CREATE TABLE cpn.trade_coupon(
  coupon_id bigint PRIMARY KEY, user_id bigint NOT NULL, coupon_price bigint NOT NULL CHECK (coupon_price > 0),
  min_amount bigint NOT NULL DEFAULT 0 CHECK (min_amount >= 0),
  valid_from timestamptz NOT NULL, valid_to timestamptz NOT NULL CHECK (valid_to > valid_from),
  is_used smallint NOT NULL DEFAULT 0 CHECK (is_used IN (0,1)), order_id bigint, used_time timestamptz,
  CHECK ((is_used = 1) = (order_id IS NOT NULL)));
CREATE UNIQUE INDEX uq_coupon_order ON cpn.trade_coupon(order_id) WHERE is_used = 1;
CREATE TABLE cpn.coupon_log(
  log_id bigserial PRIMARY KEY, coupon_id bigint NOT NULL, order_id bigint NOT NULL,
  log_type smallint NOT NULL CHECK (log_type IN (1,2)), -- 1 use, 2 return
  coupon_paid bigint NOT NULL CHECK (coupon_paid > 0), -- what the use was worth; the stored answer of a repeated try
  log_time timestamptz NOT NULL DEFAULT now(), UNIQUE (order_id, log_type));
SELECT kit.append_only('cpn.coupon_log');
