-- order: orders, their lines, the legal transitions as data, and a journal written by triggers.
-- version 1, applied once.
CREATE SCHEMA ord;
SELECT kit.service_tables('ord');

-- order_status 0 pending, 1 confirmed, 2 cancelled, 3 invalid (tombstone), 5 cancelling;
-- pay_status 0 unpaid, 1 paying, 2 paid. Money in cents.
CREATE TABLE ord.trade_order(
  order_id bigint PRIMARY KEY, user_id bigint NOT NULL, client_req_id uuid NOT NULL, req_hash bytea NOT NULL,
  order_status smallint NOT NULL CHECK (order_status IN (0,1,2,3,5)),
  pay_status smallint NOT NULL DEFAULT 0 CHECK (pay_status IN (0,1,2)),
  goods_amount bigint NOT NULL CHECK (goods_amount >= 0),
  shipping_fee bigint NOT NULL CHECK (shipping_fee >= 0),
  order_amount bigint NOT NULL CHECK (order_amount = goods_amount + shipping_fee),
  coupon_id bigint, coupon_paid bigint NOT NULL DEFAULT 0 CHECK (coupon_paid >= 0),
  money_paid bigint NOT NULL DEFAULT 0 CHECK (money_paid >= 0),
  pay_amount bigint NOT NULL CHECK (pay_amount = order_amount - coupon_paid - money_paid AND pay_amount >= 0),
  pay_id bigint, fail_code int, comp_mask smallint NOT NULL DEFAULT 0 CHECK (comp_mask BETWEEN 0 AND 15),
  cancel_reason text,
  saga_deadline timestamptz NOT NULL, pay_deadline timestamptz NOT NULL,
  next_drive_at timestamptz, drive_count int NOT NULL DEFAULT 0,
  address text NOT NULL DEFAULT '', consignee text NOT NULL DEFAULT '',
  add_time timestamptz NOT NULL DEFAULT now(), confirm_time timestamptz, pay_time timestamptz, close_time timestamptz,
  CHECK ((order_status = 1 AND pay_status = 2) = (pay_id IS NOT NULL)),
  CHECK ((coupon_id IS NULL) = (coupon_paid = 0)));
-- Tombstones are outside: after one, the same key may succeed.
CREATE UNIQUE INDEX uq_order_req ON ord.trade_order(user_id, client_req_id) WHERE order_status <> 3;
CREATE INDEX ix_order_user ON ord.trade_order(user_id, order_id DESC);
CREATE INDEX ix_order_open ON ord.trade_order(order_status, saga_deadline)
  WHERE order_status IN (0,5) OR (order_status = 1 AND pay_status < 2);
CREATE INDEX ix_order_drive ON ord.trade_order(next_drive_at) WHERE next_drive_at IS NOT NULL;

CREATE TABLE ord.trade_order_item(
  order_id bigint REFERENCES ord.trade_order, line smallint CHECK (line BETWEEN 1 AND 5), goods_id bigint NOT NULL,
  qty int NOT NULL CHECK (qty > 0), goods_price bigint NOT NULL CHECK (goods_price >= 0),
  PRIMARY KEY (order_id, line), UNIQUE (order_id, goods_id));

CREATE TABLE ord.order_edge(f smallint, fp smallint, t smallint, tp smallint, PRIMARY KEY (f, fp, t, tp));
INSERT INTO ord.order_edge VALUES
  (0,0,1,0), (0,0,5,0), (1,0,1,1), (1,1,1,1), (1,0,1,2), (1,1,1,2), (1,0,5,0), (1,1,5,0), (5,0,5,0), (5,0,2,0);

CREATE TABLE ord.order_state_log(
  log_id bigserial PRIMARY KEY, order_id bigint NOT NULL, f smallint, fp smallint,
  t smallint NOT NULL, tp smallint NOT NULL, at timestamptz NOT NULL DEFAULT clock_timestamp());
CREATE INDEX ix_state_log_order ON ord.order_state_log(order_id);
SELECT kit.append_only('ord.order_state_log');

CREATE FUNCTION ord.guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    IF NEW.order_status NOT IN (0,3) OR NEW.pay_status <> 0 THEN
      RAISE 'order % cannot be born as %/%', NEW.order_id, NEW.order_status, NEW.pay_status USING ERRCODE = 'SH001';
    END IF;
    RETURN NEW;
  END IF;
  IF TG_OP = 'DELETE' THEN
    RAISE 'orders are never deleted' USING ERRCODE = 'SH001';
  END IF;
  IF (OLD.order_status, OLD.pay_status) IS DISTINCT FROM (NEW.order_status, NEW.pay_status) AND NOT EXISTS (
      SELECT 1 FROM ord.order_edge
      WHERE (f, fp, t, tp) = (OLD.order_status, OLD.pay_status, NEW.order_status, NEW.pay_status)) THEN
    RAISE 'order %: no edge from %/% to %/%', OLD.order_id, OLD.order_status, OLD.pay_status, NEW.order_status,
      NEW.pay_status USING ERRCODE = 'SH001';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER guard BEFORE INSERT OR UPDATE OR DELETE ON ord.trade_order FOR EACH ROW EXECUTE FUNCTION ord.guard();

-- AFTER, not BEFORE: an insert that ON CONFLICT skips fires BEFORE triggers too and would be journalled.
CREATE FUNCTION ord.journal() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    INSERT INTO ord.order_state_log(order_id, t, tp) VALUES (NEW.order_id, NEW.order_status, NEW.pay_status);
  ELSIF (OLD.order_status, OLD.pay_status) IS DISTINCT FROM (NEW.order_status, NEW.pay_status) THEN
    INSERT INTO ord.order_state_log(order_id, f, fp, t, tp)
    VALUES (NEW.order_id, OLD.order_status, OLD.pay_status, NEW.order_status, NEW.pay_status);
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER journal AFTER INSERT OR UPDATE ON ord.trade_order FOR EACH ROW EXECUTE FUNCTION ord.journal();
