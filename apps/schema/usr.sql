-- user: wallets and points, each with an append-only ledger.
-- version 1, applied once.
CREATE SCHEMA usr;
SELECT kit.service_tables('usr');

CREATE TABLE usr.trade_user(
  user_id bigint PRIMARY KEY, user_name text NOT NULL, user_money bigint NOT NULL DEFAULT 0 CHECK (user_money >= 0),
  user_score bigint NOT NULL DEFAULT 0, user_reg_time timestamptz NOT NULL DEFAULT now());
CREATE TABLE usr.trade_user_money_log(
  log_id bigserial PRIMARY KEY, user_id bigint NOT NULL REFERENCES usr.trade_user,
  order_id bigint NOT NULL, -- negative for deposits, which belong to no order
  money_log_type smallint NOT NULL CHECK (money_log_type IN (0,1,2)), -- 0 deposit, 1 order payment, 2 order refund
  use_money bigint NOT NULL, balance_after bigint NOT NULL CHECK (balance_after >= 0),
  create_time timestamptz NOT NULL DEFAULT now(), UNIQUE (order_id, money_log_type),
  CHECK ((money_log_type = 1) = (use_money < 0)), CHECK ((money_log_type = 0) = (order_id < 0)));
CREATE INDEX ix_money_log_user ON usr.trade_user_money_log(user_id);
SELECT kit.append_only('usr.trade_user_money_log');
CREATE TABLE usr.user_score_log(
  log_id bigserial PRIMARY KEY, user_id bigint NOT NULL REFERENCES usr.trade_user, pay_id bigint NOT NULL, order_id bigint NOT NULL,
  log_type smallint NOT NULL CHECK (log_type IN (1,2)), -- 1 earn, 2 reverse
  score bigint NOT NULL, create_time timestamptz NOT NULL DEFAULT now(), UNIQUE (pay_id, log_type),
  CHECK ((log_type = 1 AND score >= 0) OR (log_type = 2 AND score <= 0)));
CREATE INDEX ix_score_log_order ON usr.user_score_log(order_id);
SELECT kit.append_only('usr.user_score_log');
