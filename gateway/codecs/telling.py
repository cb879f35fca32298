"""A canonical event in words: for `smartcare gateway try` and for the gallery in the docs.

One decision: what says nothing is left out, so that what is left is what the event means.
"""

from datetime import UTC, datetime, timedelta

from gateway.events import Event, FaultCode, Flag, Kind, ListRole, Method, Result

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_VALUES: dict[Kind, tuple[str, ...]] = {
    Kind.CONTACT: ("closed", "open"),
    Kind.TAMPER: ("in place", "opened"),
    Kind.LINK: ("offline", "online"),
    Kind.FAULT: ("over", "present"),
}


def told(event: Event) -> dict[str, object]:
    """Return the event as plain values: {"device", "kind", "is" or "a" and "b", …, "at", "flags"}."""
    said: dict[str, object] = {"device": event.device, "kind": event.kind.name}
    match event.kind:
        case Kind.CONTACT | Kind.TAMPER | Kind.LINK | Kind.FAULT:
            said["is"] = _VALUES[event.kind][event.a]
            if event.kind is Kind.FAULT:
                said["fault"] = FaultCode(event.aux).name
        case Kind.COUNT_TOTAL | Kind.COUNT_PERIOD:
            said |= {"line": event.aux, "in": event.a, "out": event.b}
        case Kind.OCCUPANCY:
            said |= {"region": event.aux, "people": event.a}
        case Kind.BATTERY:
            said["percent"] = event.a
        case Kind.PASSAGE:
            said |= {"by": Method(event.aux).name, "result": Result(event.a).name, "list": ListRole(event.b).name}
            said["person"] = event.person.hex() if event.person else "anonymous"
        case Kind.ALIVE:
            pass
    said["at"] = (_EPOCH + timedelta(microseconds=event.t_us)).isoformat().replace("+00:00", "Z")
    if event.raw_us:
        said["raw_us"] = event.raw_us
    if event.flags:
        said["flags"] = [flag.name for flag in Flag if flag & event.flags]
    if event.flags & Flag.HAS_KEY:
        said["key"] = event.key
    return said
