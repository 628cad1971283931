-- The kit, second part: dead letters, and when the verdict about a try was asked for.
-- version 1, applied once.
DO $$
DECLARE
  s text;
BEGIN
  FOREACH s IN ARRAY ARRAY['ord','stk','cpn','usr','pay','plog'] LOOP
    -- A try without a verdict: when the order service was asked, and since when it has not known the order.
    EXECUTE format('ALTER TABLE %I.tx_barrier ADD COLUMN asked_at timestamptz, ADD COLUMN unknown_since timestamptz', s);
    -- What a consumer group of this service gave up, kept longer than the broker keeps it. A replay that
    -- fails again is a letter of its own; replays says how often the message has been replayed before.
    EXECUTE format('CREATE TABLE %I.mq_dead_letter(
      letter_id bigserial PRIMARY KEY, group_name text NOT NULL, tag text, msg_key text, msg_id text NOT NULL,
      body bytea NOT NULL, traceparent text, reconsume_times int NOT NULL DEFAULT 0, replays int NOT NULL DEFAULT 0,
      state text NOT NULL DEFAULT ''open'' CHECK (state IN (''open'',''replayed'',''dropped'')),
      note text, died_at timestamptz NOT NULL DEFAULT now(), changed_at timestamptz,
      UNIQUE (group_name, msg_id), CHECK (state <> ''dropped'' OR length(note) > 0))', s);
    EXECUTE format('CREATE INDEX ix_dead_letter_open ON %I.mq_dead_letter(letter_id) WHERE state = ''open''', s);
  END LOOP;
END $$;
