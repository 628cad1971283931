-- paylog: the journal of payment events.
-- version 1, applied once.
CREATE SCHEMA plog;
SELECT kit.service_tables('plog');

CREATE TABLE plog.pay_log(
  log_id bigserial PRIMARY KEY, pay_id bigint NOT NULL, order_id bigint NOT NULL,
  event text NOT NULL CHECK (event IN ('paid','refunded')), amount bigint NOT NULL CHECK (amount >= 0),
  at timestamptz NOT NULL DEFAULT now(), UNIQUE (pay_id, event));
SELECT kit.append_only('plog.pay_log');
