"""What is usual at one place, plainly: lists and numbers, one quarter of an hour at a time.

One decision: numbers are kept as short as the engine keeps them (`half`, `single`), so that both come to the same limits.
"""

import struct
from math import isnan, log, log1p, nan, sqrt
from typing import Any

State = dict[str, Any]
SPANS = (1, 4, 16, 96)
DAY_CLASS = (0, 0, 0, 0, 0, 1, 2, 2)
LONGEST = (30.0, 10.0, 10.0)
STRANGE = (0.02, 0.02, 0.02, 0.02, 0.02, 0.0, 0.01, 0.4)
ANYTHING, DOUBT, LEVEL_PRIOR, MOST = 1.4, 0.2, 20.0, 0x7FFE


def half(x: float) -> float:
    """Round to 16 bits."""
    return float(struct.unpack("e", struct.pack("e", x))[0])


def single(x: float) -> float:
    """Round to 32 bits."""
    return float(struct.unpack("f", struct.pack("f", x))[0])


FADE = single(0.5 ** (1 / 384))


def new_profile() -> State:
    """Return a profile of which nothing is known. ring: of each quarter of the last day (count, doubted) or None."""
    p: State = {"shape": [[None] * 96 for _ in range(3)], "ratio": [[1.0] * 12 for _ in range(8)], "ring": [None] * 96}
    p |= {"spread": [[[half(0.3)] * 4 for _ in range(6)] for _ in range(2)], "learned": [0] * 8, "kinds": [-1, -1]}
    return p | {"slot": -1, "counted": 0.0, "usual": 0.0}


def turn(p: State, slot: int, kind: int) -> None:
    """Begin a quarter: learn what was counted in it a day ago."""
    today, before = p["kinds"]
    p["kinds"] = [kind, kind if p["slot"] < 0 else today if slot < p["slot"] else before]
    p["slot"] = slot
    if p["ring"][slot] is not None:
        counted, doubted = p["ring"][slot]
        _learn(p, slot, p["kinds"][1], counted, DOUBT if doubted else 1.0)


def doubt(p: State, slot: int, quarters: int) -> None:
    """What was counted through `slot` shall teach little."""
    for i in range(quarters):
        if (known := p["ring"][(slot - i) % 96]) is not None:
            p["ring"][(slot - i) % 96] = known[0], True


def forget(p: State, slot: int, quarters: int) -> None:
    """What was counted through `slot` shall teach nothing."""
    for i in range(quarters):
        p["ring"][(slot - i) % 96] = None


def look(p: State, slot: int) -> State:
    """Compare the spans that end with `slot` to what is usual: lists by span, nan unknown."""
    x, m = [nan] * 4, [nan] * 4
    level = (p["counted"] + LEVEL_PRIOR) / (p["usual"] + LEVEL_PRIOR)
    now = p["ring"][slot] is not None and _mean(p, slot, p["kinds"][0]) is not None
    sum_x = sum_m = told_x = told_m = 0.0
    known = told = 0
    for i in range((96 if slot % 4 == 3 else 16) if now else 0):
        at = (slot - i) % 96
        counted, mean = p["ring"][at], _mean(p, at, p["kinds"][at > slot])
        if counted is not None and mean is not None:
            sum_x, sum_m, known = sum_x + counted[0], sum_m + mean * level, known + 1
            if counted[1]:
                told_x, told_m, told = told_x + counted[0], told_m + mean * level, told + 1
        if i == 95:  # of the day, what was not told
            sum_x, sum_m, known = sum_x - told_x, sum_m - told_m, known - told
        if i + 1 in SPANS and known >= 0.75 * (i + 1):
            x[SPANS.index(i + 1)], m[SPANS.index(i + 1)] = sum_x, max(sum_m, 1e-3)
    unsure = doubtfulness(p)
    wide = [s + unsure for s in spread(p, slot)]
    return _outlook(x, m, wide, guessed=False)


def guess(p: State, slot: int, outlook: State, people: float) -> State:
    """Judge a new place by so many people a day."""
    x, m, total, known = [nan] * 4, [nan] * 4, 0.0, 0
    for i in range(16):
        if (counted := p["ring"][(slot - i) % 96]) is not None:
            total, known = total + counted[0], known + 1
        if i + 1 in SPANS:
            n = SPANS.index(i + 1)
            m[n] = people / 32 * (i + 1)
            x[n] = total if known >= 0.75 * (i + 1) and p["ring"][slot] is not None else nan
    return _outlook(x, m, [ANYTHING] * 3 + [outlook["spread"][3]], guessed=True)


def together(outlooks: list[State], wide: list[float]) -> State:
    """Judge several places as one."""
    guessed = any(o["guessed"] for o in outlooks)
    x, m = ([sum(o[name][n] for o in outlooks) for n in range(4)] for name in ("x", "m"))
    return _outlook(x, m, [ANYTHING] * 4 if guessed else wide, guessed=guessed)


def _outlook(x: list[float], m: list[float], wide: list[float], *, guessed: bool) -> State:
    z = [score(*one) for one in zip(x, m, wide, strict=True)]
    return {"x": x, "m": m, "spread": wide, "z": z, "guessed": guessed}


def days(p: State) -> float:
    """Return how many days were learned."""
    return sum(p["learned"]) / 96


def a_day(p: State) -> float:
    """Return how many were counted a day so far."""
    kept, known = 0.5 ** (1 / 4), days(p)
    return single(p["counted"] * single(1 - kept)) / (1 - kept**known) if known >= 1 else 0.0


def doubtfulness(p: State) -> float:
    """Return the relative variance of the usual count itself."""
    kind = p["kinds"][0]
    of_class = min(_of_class(p, kind), LONGEST[DAY_CLASS[kind]])
    return float(0.25 / (0.5 + of_class) ** 2 + STRANGE[kind] / (1 + min(p["learned"][kind] / 96, 8.0)))


def spread(p: State, slot: int) -> list[float]:
    """Return the learned relative variance by span."""
    group = DAY_CLASS[p["kinds"][0]] > 0
    found = []
    for n, own in enumerate(p["spread"][group][slot // 16]):
        calm = sorted(block[n] for blocks in p["spread"] for block in blocks)[4]
        found.append(min(own, 1.5 * (1 + group) * calm))
    return found


def spread_out(p: State, slot: int, outlook: State) -> None:
    """Learn the spread from a quarter in which nothing was unusual."""
    block, group, unsure = slot // 16, DAY_CLASS[p["kinds"][0]] > 0, doubtfulness(p)
    learned = min(days(p), 30.0) * (2.0 if group else 5.0) / 7.0
    for n in range(4):
        x, m, present = outlook["x"][n], outlook["m"][n], p["spread"][group][block][n]
        if isnan(x) or isnan(m):
            continue
        bound = sqrt(m + outlook["spread"][n] * m * m)
        error = min(max(x - m, -bound), bound)
        sample = (error * error / 0.516 - m) / (m * m) - unsure
        sure = (m / (1.0 + present * m)) ** 2
        gain = sure / (1.0 + sure) / ((16 if n < 3 else 4) * (1.0 + learned))
        p["spread"][group][block][n] = half(min(max(present + gain * (sample - present), 0.002), 1.5))


def score(x: float, mean: float, wide: float) -> float:
    """Return about how many standard deviations a negative binomial count is from usual."""
    if isnan(x) or isnan(mean):
        return nan
    size = 1 / min(max(wide, 1e-4), 1.4)
    above, below = _peizer_pratt(max(x - 1, 0.0), size, mean), _peizer_pratt(x, size, mean)
    return above if above > 0 and x >= 1 else below if below < 0 else 0.0


def log_chance_of_none(mean: float, wide: float) -> float:
    """Return the log-probability of counting nobody."""
    return -log1p(wide * mean) / wide


def _peizer_pratt(x: float, size: float, mean: float) -> float:
    p, q = size / (size + mean), mean / (size + mean)
    n, s, t = x + size, size - 0.5, x + 0.5
    d = s + 1 / 6 - (n + 1 / 3) * p + 0.02 * (q / (s + 0.5) - p / (t + 0.5) + (q - 0.5) / (n + 1))
    return -d * sqrt((1 + q * _g(s / (n * p)) + p * _g(t / (n * q))) / ((n + 1 / 6) * p * q))


def _g(x: float) -> float:
    x = max(x, 1e-12)
    e = 1 - x
    return e / 3 if abs(e) < 1e-3 else (1 - x * x + 2 * x * log(x)) / (e * e)


def _mean(p: State, slot: int, kind: int) -> float | None:
    shape = p["shape"][DAY_CLASS[kind]][slot]
    return None if shape is None else float((shape / 256) * (shape / 256) * p["ratio"][kind][slot // 8])


def _of_class(p: State, kind: int) -> float:
    return float(sum(n for k, n in enumerate(p["learned"]) if DAY_CLASS[k] == DAY_CLASS[kind]) / 96)


def _learn(p: State, slot: int, kind: int, x: float, weight: float) -> None:
    of, mean = DAY_CLASS[kind], _mean(p, slot, kind)
    ratio, level = p["ratio"][kind][slot // 8], (p["counted"] + LEVEL_PRIOR) / (p["usual"] + LEVEL_PRIOR)
    p["counted"], p["usual"] = single(p["counted"] * FADE), single(p["usual"] * FADE)
    shape, gain, told = 0.0, 1.0, 0.0
    if mean is not None:
        usual = mean * level
        wide = p["spread"][of > 0][slot // 16][0] + doubtfulness(p)
        if abs(x - usual) > 3.0 * sqrt(usual + wide * usual**2) + 1.0:
            weight = DOUBT
        shape, told = mean / ratio, weight
        gain = weight / (1.0 + min(_of_class(p, kind), LONGEST[of]))
        most = 2.0 * mean * level + 1.0 if weight < 1.0 else x
        p["counted"], p["usual"] = single(p["counted"] + min(x, most)), single(p["usual"] + mean)
    base, quick = shape * level, told / (2.0 + min(p["learned"][kind] / 96, 8.0)) / 4.0
    moved = ratio + quick * ((x - base * ratio) / (base + 1.0) + 0.05 * (1.0 - ratio))
    p["ratio"][kind][slot // 8] = half(min(max(moved, 0.05), 20.0))
    shape += gain * (x / ratio - shape)
    p["shape"][of][slot] = int(min(sqrt(max(shape, 0.0)) * 256 + 0.5, 0xFFFE))
    p["learned"][kind] = min(p["learned"][kind] + 1, 0xFFFE)
