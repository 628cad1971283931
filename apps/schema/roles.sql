-- One login role per service without rights on any other schema, and an auditor that may read all.
-- Runs again whenever it changes, and has to change with every file that adds tables (last: 010_kit.sql).
-- Roles get no password here: how they log in is the operator's matter
-- (ALTER ROLE ... PASSWORD, peer, certificates); a private cluster trusts its socket directory.
DO $$
DECLARE
  r record;
BEGIN
  FOR r IN SELECT * FROM (VALUES ('shop_order','ord'), ('shop_stock','stk'), ('shop_coupon','cpn'), ('shop_user','usr'),
                                 ('shop_payment','pay'), ('shop_paylog','plog'), ('shop_thirdpay','tp')) v(name, schema) LOOP
    IF NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = r.name) THEN
      EXECUTE format('CREATE ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE', r.name);
    END IF;
    EXECUTE format('GRANT USAGE ON SCHEMA %I, kit TO %I', r.schema, r.name);
    EXECUTE format('GRANT SELECT ON kit.schema_version TO %I', r.name);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA %I TO %I', r.schema, r.name);
    EXECUTE format('GRANT DELETE ON %1$I.mq_producer_log, %1$I.mq_consumer_log, %1$I.tx_barrier TO %2$I', r.schema, r.name);
    EXECUTE format('GRANT USAGE ON ALL SEQUENCES IN SCHEMA %I TO %I', r.schema, r.name);
  END LOOP;
  IF NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'shop_auditor') THEN
    CREATE ROLE shop_auditor LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE;
  END IF;
  FOR r IN SELECT unnest(ARRAY['kit','ord','stk','cpn','usr','pay','plog','tp','audit']) AS schema LOOP
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO shop_auditor', r.schema);
    EXECUTE format('GRANT SELECT ON ALL TABLES IN SCHEMA %I TO shop_auditor', r.schema);
  END LOOP;
END $$;
-- Ledgers: adding is all that anybody may do. The transitions are data of the schema, not of the service.
REVOKE UPDATE ON ord.order_state_log FROM shop_order;
REVOKE INSERT, UPDATE ON ord.order_edge FROM shop_order;
REVOKE UPDATE ON stk.trade_goods_number_log FROM shop_stock;
REVOKE UPDATE ON cpn.coupon_log FROM shop_coupon;
REVOKE UPDATE ON usr.trade_user_money_log, usr.user_score_log FROM shop_user;
REVOKE UPDATE ON plog.pay_log FROM shop_paylog;
