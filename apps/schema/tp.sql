-- thirdpay: the books of the simulated payment provider. Not part of the shop; shares nothing with it.
-- version 1, applied once.
CREATE SCHEMA tp;
SELECT kit.service_tables('tp');

CREATE TABLE tp.charge(
  out_trade_no bigint PRIMARY KEY, provider_txn_id text UNIQUE, amount bigint NOT NULL CHECK (amount >= 0),
  currency text NOT NULL DEFAULT 'CNY', status text NOT NULL CHECK (status IN ('OPEN','CAPTURED','CLOSED')),
  refunded bigint NOT NULL DEFAULT 0 CHECK (refunded >= 0 AND refunded <= amount), refund_key text UNIQUE,
  notify_url text NOT NULL DEFAULT '', expires_at timestamptz, add_time timestamptz NOT NULL DEFAULT now(),
  capture_time timestamptz);
-- Callbacks still to be delivered: the provider repeats until it hears SUCCESS.
CREATE TABLE tp.notify(
  notify_id bigserial PRIMARY KEY, out_trade_no bigint NOT NULL REFERENCES tp.charge, body text NOT NULL,
  attempts int NOT NULL DEFAULT 0, next_at timestamptz, delivered_at timestamptz, last_answer text);
CREATE INDEX ix_notify_next ON tp.notify(next_at) WHERE next_at IS NOT NULL;
