-- What a worker had in hand while it was careful, and what its predecessors died over (ingest.caution).
CREATE TABLE suspect (
    shard       smallint NOT NULL REFERENCES shard,
    key         bytea NOT NULL,                                   -- of a message: its topic, stream and number, or its bytes
    deaths      smallint NOT NULL DEFAULT 0,                      -- workers that died while it was alone in hand
    in_hand     smallint NOT NULL DEFAULT 0,                      -- messages in hand together with it, itself included; 0: not now
    PRIMARY KEY (shard, key)
);
