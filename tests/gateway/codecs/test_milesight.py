"""Milesight payloads: bytes put together by hand from the vendors' tables, and what they mean."""

import pytest

from gateway.codecs.milesight import Frame, Reading, decode
from gateway.events import NO_FLAGS, FaultCode, Flag, Kind


def total(line: int, a: int | None, b: int | None, flags: Flag = NO_FLAGS, time_s: int | None = None) -> Reading:
    return Reading(kind=Kind.COUNT_TOTAL, aux=line, a=a, b=b, flags=flags, time_s=time_s)


def period(line: int, a: int, b: int, flags: Flag = NO_FLAGS, time_s: int | None = None) -> Reading:
    return Reading(kind=Kind.COUNT_PERIOD, aux=line, a=a, b=b, flags=flags, time_s=time_s)


def region(number: int, people: int, flags: Flag = NO_FLAGS, time_s: int | None = None) -> Reading:
    return Reading(kind=Kind.OCCUPANCY, aux=number, a=people, flags=flags, time_s=time_s)


def contact(a: int, flags: Flag = NO_FLAGS, time_s: int | None = None) -> Reading:
    return Reading(kind=Kind.CONTACT, a=a, flags=flags, time_s=time_s)


BATTERY_87 = Reading(kind=Kind.BATTERY, a=87)
LATE = Flag.LATE
T = 1_789_999_990  # 76 3b b1 6a


@pytest.mark.parametrize(
    ("model", "data", "readings"),
    [
        ("WS301", "017557 030001 040001", [BATTERY_87, contact(1), Reading(kind=Kind.TAMPER, a=1)]),
        ("", "030000 040000", [contact(0), Reading(kind=Kind.TAMPER, a=0)]),
        ("EM300", "017557 0367e100 04685b 060000", [BATTERY_87, contact(0)]),
        ("EM300", "20ce763bb16ae1005b01", [contact(1, LATE, T)]),
        ("VS133", "03d206010000 04d2fa000000 05cc03000400", [total(1, 262, 250), period(1, 3, 4)]),
        ("VS135", "06d2ffffffff 07d200000000", [total(2, 2**32 - 1, 0)]),
        ("VS133", "09d201000000 0ad202000000 0cd203000000 0dd204000000", [total(3, 1, 2), total(4, 3, 4)]),
        ("VS133", "08cc01000200 0bcc03000400 0eccffff0000", [period(2, 1, 2), period(3, 3, 4), period(4, 65535, 0)]),
        ("VS133", "03d207000000", [total(1, 7, None)]),
        ("VS133", "04d207000000", [total(1, None, 7)]),
        ("VS133", "0fe301020304", [region(1, 1), region(2, 2), region(3, 3), region(4, 4)]),
        ("VS133", "10e4013c007800", []),
        ("VS133", "50fc000001", [Reading(kind=Kind.FAULT, aux=FaultCode.OCCLUDED, a=1)]),
        ("VS133", "50fc000000", [Reading(kind=Kind.FAULT, aux=FaultCode.OCCLUDED, a=0)]),
        # children are a breakdown of the counts: understood, and not counted again
        ("VS133", "11d201000000 12d201000000 13cc01000100 1de301000000 1ee40105000600 05cc02000100", [period(1, 2, 1)]),
        ("VS133", "20ce763bb16a03 08000000 20ce763bb16a04 09000000", [total(1, 8, 9, LATE, T)]),
        ("VS133", "20ce763bb16a08 01000200", [period(2, 1, 2, LATE, T)]),
        ("VS133", "20ce763bb16a0d 01000000", [total(4, None, 1, LATE, T)]),
        ("VS133", "20ce763bb16a0f 01000002", [region(i, n, LATE, T) for i, n in ((1, 1), (2, 0), (3, 0), (4, 2))]),
        ("VS133", "20ce763bb16a10 010500 20ce763bb16a3c 010600 05cc01000000", [period(1, 1, 0)]),
        ("VS132", "03d20a000000 04d20b000000 05cc00000100", [total(1, 10, 11), period(1, 0, 1)]),
        ("VS121", "04c9050300a1 06cd07", [region(0, 5)]),
        ("VS121", "05cc02000300 0dcc0a000b00", [period(1, 2, 3), total(1, 10, 11, Flag.WRAP16)]),
        ("VS121", "07d50100000000000002", [region(i, n) for i, n in zip(range(1, 9), (1, 0, 0, 0, 0, 0, 0, 2), strict=True)]),
        ("VS121", "08d50000000000000003", [region(i, n) for i, n in zip(range(9, 17), (0, 0, 0, 0, 0, 0, 0, 3), strict=True)]),
        ("VS121", "09da0100020003000400 0ee4010a001400 0f85763bb16a 10f701000200", []),
        ("VS121", "20ce763bb16a01 050300a1 20ce763bb16a02 02000300", [region(0, 5, LATE, T), period(1, 2, 3, LATE, T)]),
        ("VS121", "20ce763bb16a03 07 20ce763bb16a10 feff0b00", [total(1, 65534, 11, LATE | Flag.WRAP16, T)]),
        ("VS121", "20ce763bb16a04 01000002", [region(i, n, LATE, T) for i, n in ((1, 1), (2, 0), (3, 0), (4, 2))]),
        ("VS121", "20ce763bb16a05 00000003 20ce763bb16a07 00000004", [region(i, n, LATE, T) for i, n in (
            (5, 0), (6, 0), (7, 0), (8, 3), (13, 0), (14, 0), (15, 0), (16, 4))]),
        ("VS121", "20ce763bb16a06 09000000", [region(i, n, LATE, T) for i, n in ((9, 9), (10, 0), (11, 0), (12, 0))]),
        ("VS121", "20ce763bb16a08 01000200 20ce763bb16a0f 03000400 20ce763bb16a11 010a001400 20ce763bb16a12 01000200", []),
        ("VS350", "017557 0367e100 04ccfeff0100 05cc01000200 0aef763bb16a", [
            BATTERY_87, total(1, 65534, 1, Flag.WRAP16), period(1, 1, 2)]),
        ("VS351", "84cc0100020001 85cc0300040001 8367e10001", [total(1, 1, 2, Flag.WRAP16), period(1, 3, 4)]),
        ("VS350", "20ce763bb16a00 05000600", [period(1, 5, 6, LATE, T)]),
        ("VS350", "20ce763bb16a01 05000600 07000800", [period(1, 5, 6, LATE, T), total(1, 7, 8, LATE | Flag.WRAP16, T)]),
        # what a device says of itself after joining
        ("VS132", "ff0101 ff166714b2a496870000 ff090102 ff1f84010001 05cc00000100", [period(1, 0, 1)]),
        ("WS301", "ff0bff ff0101 ff086136b1234567 ff090100 ff0a0102 ff0f00 fffe01 ffff0100 017557", [BATTERY_87]),
        ("VS121", "ff086136b1234567 ff090100", []),
        ("VS121", "ff086136b123456789ab ff090100", []),
        ("VS121", "ff086136b123456789ab", []),
        ("WS301", "0175ff", []),  # a battery that is not known
    ],
)  # fmt: skip
def test_bytes_of_the_table_become_readings(model: str, data: str, readings: list[Reading]) -> None:
    assert decode(bytes.fromhex(data), model) == Frame(readings=tuple(readings))


@pytest.mark.parametrize(
    ("model", "data", "readings", "reason"),
    [
        ("VS133", "05cc01000200 77aa01 03d201000000", [period(1, 1, 2)], "unknown_channel"),
        ("VS133", "05cc01000200 03d20100", [period(1, 1, 2)], "truncated"),
        ("VS133", "05cc01000200 03", [period(1, 1, 2)], "unknown_channel"),
        ("WS202", "030001", [], "unknown_model"),  # the same channels mean light and movement there
        ("", "017557 20ce763bb16a0301000000", [BATTERY_87], "unknown_history"),
        ("VS133", "20ce763bb16a7701000000", [], "unknown_history"),
        ("VS350", "20ce763bb16a01050006", [], "truncated"),
        ("VS121", "20ce763bb16a02 01000200 20ce763bb16a13 01000200", [period(1, 1, 2, LATE, T)], "unknown_history"),
        ("VS121", "20ce763bb16a1001000b", [], "truncated"),
        ("VS121", "20ce763bb1", [], "unknown_history"),
    ],
)
def test_what_is_not_known_ends_the_reading_and_keeps_what_came_before(
    model: str, data: str, readings: list[Reading], reason: str
) -> None:
    frame = decode(bytes.fromhex(data), model)
    assert (list(frame.readings), frame.reason) == (readings, reason)
    assert frame.detail
