-- What the example needs: the kit's tables in a schema of its own, its ledger, its balance.
-- version 1, applied once.
CREATE SCHEMA stamps;
SELECT kit.service_tables('stamps');

CREATE TABLE stamps.stamp_log(
  pay_id bigint NOT NULL, log_type smallint NOT NULL CHECK (log_type IN (1, 2)), user_id bigint NOT NULL,
  at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (pay_id, log_type));
SELECT kit.append_only('stamps.stamp_log');

CREATE TABLE stamps.card(user_id bigint PRIMARY KEY, stamps int NOT NULL CHECK (stamps >= 0));
