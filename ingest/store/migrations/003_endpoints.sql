-- Endpoints speak each receiver's own language. The defaults are what an endpoint was before: a Standard Webhook.

ALTER TABLE endpoint
    ADD COLUMN kind    text NOT NULL DEFAULT 'webhook' CHECK (kind IN ('webhook', 'dingtalk', 'feishu', 'wecom')),
    ADD COLUMN signer  text NOT NULL DEFAULT 'standard' CHECK (signer IN ('standard', 'hmac-sm3', 'zwdd', 'md5')),
    ADD COLUMN key_id  text NOT NULL DEFAULT '',                  -- apiKey or appKey, where the signer has one
    ADD COLUMN mapping text NOT NULL DEFAULT '',                  -- YAML, see api/mapping.py; '': our own JSON
    ADD COLUMN fields  text[],                                    -- what of an alert may leave; NULL: all of it
    ADD COLUMN success text NOT NULL DEFAULT '',                  -- '$.code == 0'; '': any 2xx
    ADD COLUMN turn_us bigint NOT NULL DEFAULT 0;                 -- robots: when the budget is whole again

ALTER TABLE outbox
    ADD COLUMN mapped  bytea;                                     -- the receiver's own body, made once before the first attempt
