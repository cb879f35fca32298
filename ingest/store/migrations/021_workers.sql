-- What each worker says of itself every few seconds, so that its silence and a lost broker are seen where people look.
CREATE TABLE worker (
    owner       text PRIMARY KEY,                                 -- as in shard.owner
    at_us       bigint NOT NULL,                                  -- the database's clock: workers on several machines are compared
    broker_lost_us bigint                                         -- NULL: connected
);
