"""What a worker counts about itself, for Prometheus; counted once per transaction, never per event."""

from collections.abc import Iterable, Mapping, Sequence

from prometheus_client import Counter, Gauge, Histogram

from ingest.columns import Batch
from ingest.t1 import Quarantined, Work

COMMIT_S = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)

FRAMES = Counter("smartcare_frames", "Frames stored; their events may have been quarantined")
EVENTS = Counter("smartcare_events", "Events stored")
QUARANTINED = Counter("smartcare_quarantined", "Messages put into quarantine", ["reason"])
LOSSES = Counter("smartcare_losses", "Ranges of frames named as lost")
LOST_FRAMES = Counter("smartcare_lost_frames", "Frames in those ranges")
T1_SECONDS = Histogram("smartcare_t1_seconds", "From the begin of T1 to its COMMIT", buckets=COMMIT_S)
BROKER_CONNECTED = Gauge("smartcare_broker_connected", "1 while the worker hears the broker")
QUEUED = Gauge("smartcare_queue_messages", "Messages heard and not yet read")
SPOOLED = Gauge("smartcare_spool_bytes", "Bytes spooled and not yet sent by the gateways of this worker, as they say")
SPOOLING = Gauge("smartcare_spooling_gateways", "Gateways of this worker that have anything spooled")
STORED_POS = Gauge("smartcare_worker_stored_position_us", "Last T1 of a shard", ["shard"])


def stored(work: Mapping[int, Work], quarantined: Iterable[Quarantined], batches: Sequence[Batch], seconds: float) -> None:
    """Count what one T1 has committed."""
    T1_SECONDS.observe(seconds)
    FRAMES.inc(sum(len(w.frames) for w in work.values()))
    EVENTS.inc(sum(len(b.rows) for b in batches))
    for q in quarantined:
        QUARANTINED.labels(q.reason).inc()
    for loss in (loss for w in work.values() for loss in w.losses):
        LOSSES.inc()
        LOST_FRAMES.inc(loss.to_seq - loss.from_seq + 1)
    for b in batches:
        STORED_POS.labels(b.shard).set(b.pos)


def spooled(queued_bytes: Iterable[int]) -> None:
    """Note what each gateway says that it still holds unsent."""
    waiting = [n for n in queued_bytes if n]
    SPOOLED.set(sum(waiting))
    SPOOLING.set(len(waiting))
