-- What years bring: retention, what maintenance did last, who was erased.

CREATE TABLE maintenance (                                        -- one row, once it has run
    one         boolean PRIMARY KEY DEFAULT true CHECK (one),
    done_us     bigint NOT NULL,
    log_from_us bigint NOT NULL DEFAULT 0                         -- the log is whole from here on; 0: from its beginning
);

CREATE TABLE erased (                                             -- persons that are no more; a T1 that had them in hand may still write one
    person      integer PRIMARY KEY,
    at_us       bigint NOT NULL
);

CREATE INDEX quarantine_at ON quarantine (at_us);
CREATE INDEX outbox_done ON outbox (done_us) WHERE done_us IS NOT NULL;
CREATE INDEX outbox_alert ON outbox (alert);                      -- so that a deleted alert finds its rows

-- An alert goes with all that was said of it.
ALTER TABLE alert_change DROP CONSTRAINT alert_change_alert_fkey, ADD FOREIGN KEY (alert) REFERENCES alert ON DELETE CASCADE;
ALTER TABLE telling DROP CONSTRAINT telling_alert_fkey, ADD FOREIGN KEY (alert) REFERENCES alert ON DELETE CASCADE;
ALTER TABLE notice
    DROP CONSTRAINT notice_alert_fkey, ADD FOREIGN KEY (alert) REFERENCES alert ON DELETE CASCADE,
    DROP CONSTRAINT notice_under_fkey, ADD FOREIGN KEY (under) REFERENCES notice ON DELETE SET NULL;
ALTER TABLE outbox
    DROP CONSTRAINT outbox_alert_fkey, ADD FOREIGN KEY (alert) REFERENCES alert ON DELETE CASCADE,
    DROP CONSTRAINT outbox_notice_fkey, ADD FOREIGN KEY (notice) REFERENCES notice ON DELETE CASCADE;
ALTER TABLE visit_task DROP CONSTRAINT visit_task_alert_fkey, ADD FOREIGN KEY (alert) REFERENCES alert ON DELETE CASCADE;
ALTER TABLE alert DROP CONSTRAINT alert_recurs_fkey, ADD FOREIGN KEY (recurs) REFERENCES alert ON DELETE SET NULL;
