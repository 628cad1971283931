-- The kit: three tables that every service schema has, and the guard of append-only tables.
-- version 1, applied once.
--
-- Rows of the three tables are purged after keep-days (15 at least: broker retention 72 h, 16 retries
-- 4 h 46 min, replay horizon 7 d). They are not partitioned by day: their primary keys are what makes
-- handlers idempotent, and a partitioned table's key would have to contain the day.

CREATE FUNCTION kit.service_tables(p_schema text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  -- P2: one row per attempt of a transactional message; the first writer decides.
  EXECUTE format('CREATE TABLE %I.mq_producer_log(
    txn_id text PRIMARY KEY, topic text NOT NULL, tag text NOT NULL, msg_key text NOT NULL,
    decision char(1) NOT NULL CHECK (decision IN (''C'',''R'')),
    decided_by text NOT NULL CHECK (decided_by IN (''local'',''check'')),
    created_at timestamptz NOT NULL DEFAULT now())', p_schema);
  -- Inbox: a row appears together with the effect of its message, or not at all.
  EXECUTE format('CREATE TABLE %I.mq_consumer_log(
    group_name text, tag text, msg_key text, msg_id text, reconsume_times int NOT NULL DEFAULT 0,
    outcome text NOT NULL, created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (group_name, tag, msg_key))', p_schema);
  -- Barrier: op T = the try side, C = the cancel side; reason = who wrote the row.
  EXECUTE format('CREATE TABLE %I.tx_barrier(
    txn_key text, branch text, op char(1) CHECK (op IN (''T'',''C'')),
    reason char(1) NOT NULL CHECK (reason IN (''T'',''C'')),
    created_at timestamptz NOT NULL DEFAULT now(), settled_at timestamptz,
    PRIMARY KEY (txn_key, branch, op))', p_schema);
  EXECUTE format('CREATE INDEX ix_barrier_open ON %I.tx_barrier(created_at)
    WHERE op = ''T'' AND reason = ''T'' AND settled_at IS NULL', p_schema);
  EXECUTE format('CREATE INDEX ix_producer_age ON %I.mq_producer_log USING brin(created_at)', p_schema);
  EXECUTE format('CREATE INDEX ix_consumer_age ON %I.mq_consumer_log USING brin(created_at)', p_schema);
  EXECUTE format('CREATE INDEX ix_barrier_age ON %I.tx_barrier USING brin(created_at)', p_schema);
END $$;

CREATE FUNCTION kit.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE 'table % is append-only', TG_TABLE_NAME USING ERRCODE = 'SH002';
END $$;

-- Also against TRUNCATE: a ledger has no bulk edits either.
CREATE FUNCTION kit.append_only(p_table regclass) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE format('CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON %s
    FOR EACH ROW EXECUTE FUNCTION kit.refuse_change()', p_table);
  EXECUTE format('CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON %s
    FOR EACH STATEMENT EXECUTE FUNCTION kit.refuse_change()', p_table);
END $$;
