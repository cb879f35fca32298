"""Which gateways are lost, judged on the backend's own clock.

One decision: silence counts only while this worker was subscribed and committing. An interruption of ours, even one we
only notice by our own clock (a paused machine), starts everybody's patience anew, so it cannot start a storm.
"""

from collections.abc import Iterable

from ingest.columns import Liveness


class Listener:
    """lost_after_us: silence after which a gateway is lost; a step is due every twentieth of it."""

    def __init__(self, lost_after_us: int, now_us: int) -> None:
        self.lost_after_us = lost_after_us
        self._listening_us = self._stepped_us = now_us
        self._heard_us: dict[int, int] = {}
        self._alive: dict[int, bool] = {}

    def load(self, alive: Iterable[tuple[int, bool]]) -> None:
        """Take over what the store says of each gateway."""
        self._alive.update(alive)

    def forget(self, gateway: int) -> None:
        """Know nothing of a gateway."""
        self._heard_us.pop(gateway, None)
        self._alive.pop(gateway, None)

    def interrupted(self, now_us: int) -> None:
        """We were not listening until now."""
        self._listening_us = now_us

    def heard(self, gateway: int, now_us: int) -> None:
        """A message of a gateway arrived."""
        self._heard_us[gateway] = now_us

    def due(self, now_us: int) -> bool:
        """Tell whether a step would do anything."""
        return now_us - self._stepped_us >= self.lost_after_us // 20

    def step(self, gateways: Iterable[int], now_us: int) -> list[Liveness]:
        """Return which of `gateways` are newly lost or back; told again each time until `commit` takes them over."""
        if not self.due(now_us):
            return []
        if now_us - self._stepped_us > self.lost_after_us // 4:
            self.interrupted(now_us)
        self._stepped_us = now_us
        changes = []
        for gateway in gateways:
            heard_us = self._heard_us.get(gateway, 0)
            silent_us = now_us - max(heard_us, self._listening_us)
            was, alive = self._alive.get(gateway), silent_us <= self.lost_after_us
            if alive and now_us - heard_us > self.lost_after_us and was is not True:
                continue  # patience with a gateway that has not been heard of proves nothing
            if alive != was:
                changes.append(Liveness(gateway=gateway, alive=alive, at_us=now_us))
        return changes

    def commit(self, changes: Iterable[Liveness]) -> None:
        """The changes are stored."""
        self._alive.update((c.gateway, c.alive) for c in changes)
