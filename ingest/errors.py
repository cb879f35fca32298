"""What can go wrong while storing: one base class, and leaves that say what happened."""


class IngestError(Exception):
    """Base of the stage's errors."""


class Fenced(IngestError):
    """Another worker has taken the shard: nothing was written, this worker must stop and start again."""

    def __init__(self, shard: int, ours: int, theirs: int) -> None:
        self.shard, self.ours, self.theirs = shard, ours, theirs
        super().__init__(f"shard {shard} is at epoch {theirs}, this worker owns epoch {ours}: another worker has taken it")


class ShardsLost(IngestError):
    """The connection that holds the advisory locks is gone, and the shards with it."""
