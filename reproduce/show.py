"""Claims and measurements as text for tables: numbers as a person would write them."""

from __future__ import annotations

import math
from dataclasses import replace

from cifar_utils.measure import words

from .ledger import Claim, Measurement
from .verdict import Verdict, compare

_ONE = {"batches": "batch", "biases": "bias", "classes": "class", "losses": "loss", "ms": "ms", "passes": "pass"}

#: From here on a number that is not whole is written as a power of ten.
LARGE = 1e7


def show(value: float | None, unit: str = "", like: float | None = None) -> str:
    """Return a number as a person would write it: thousands apart, three significant digits, unit.

    Args:
        value: the number; None gives a dash.
        unit: `%` or a word, put behind the number.
        like: write as many decimals as this number would get, such as an interval's bound like its mean.
    """
    if value is None:
        return "—"
    if not math.isfinite(value):
        return "diverged"
    like = value if like is None or not math.isfinite(like) else like
    if unit in ("%", "points"):
        code = f".{2 if 0 < abs(like) < 1 else 1}f"
    elif like == int(like) and value == int(value) and abs(value) < 1e15:
        code = ".2f" if (value, unit) == (1, "times") else ".0f"
    elif 0 < abs(like) < 1e-3 or abs(like) >= LARGE:
        code = ".1e"
    else:
        code = f".{min(max(0, 2 - math.floor(math.log10(abs(like)))), 4) if like else 2}f"
    text = words.parse(code).number(value)
    return f"{text} {one_of(unit) if text in ('1', '−1') else unit}".strip()


def one_of(unit: str) -> str:
    """Return a unit's singular: `pixels wide` becomes `pixel wide`."""
    first, _, rest = unit.partition(" ")
    return f"{_ONE.get(first, first.removesuffix('s'))} {rest}".strip()


def show_reported(claim: Claim) -> str:
    """Return what the report says as text for a table."""
    if claim.points:
        (first, begin), (last, end) = claim.points[0], claim.points[-1]
        ends = f"{show(begin, claim.unit)} at {claim.along} {show(first)}, {show(end, claim.unit)} at {show(last)}"
        return f"{ends} ({len(claim.points)} points)"
    sign = {"greater": "more than ", "less": "less than ", "equal": ""}[claim.comparison]
    if claim.kind == "direction" and claim.comparison == "equal":
        return f"no effect (±{show(claim.tolerance, claim.unit)})"
    if not claim.value:
        return f"{sign}0 {claim.unit}".strip()
    return sign + show(claim.value, claim.unit)


def show_found(claim: Claim, found: dict | Measurement) -> str:
    """Return a measurement as text for a table: value, and interval where there is one."""
    m = found if isinstance(found, Measurement) else Measurement(**found)
    if claim.points:
        return _show_along(claim, m)
    if m.value is None:
        return "diverged"
    return show_interval(m.value, m.low, m.high, claim.unit)


def show_interval(value: float | None, low: float | None, high: float | None, unit: str = "") -> str:
    """Return a mean with its interval, where it has one, as text: `69.3 [68.1, 70.5] %`."""
    if low is None or value is None:
        return show(value, unit)
    each = (show(v, unit, like=value).removesuffix(unit).strip() for v in (value, low, high))
    return "{} [{}, {}] {}".format(*each, unit).strip()


def _show_along(claim: Claim, found: Measurement) -> str:
    # whether numbers agree is another question than what the agreement is worth
    points = compare(replace(claim, fitted=False), replace(found, fitted=False, full_scale=True))
    if not points:
        return f"no point reached; the first is {claim.along} {show(claim.points[0][0])}"
    agree = sum(point.verdict == Verdict.REPRODUCED for point in points)
    reached = f"{agree} of {len(points)} points agree, up to {claim.along} {show(points[-1].place)}"
    if any(point.found is None for point in points):
        return f"{reached}; it diverged"
    others = [point for point in points if point.verdict != Verdict.REPRODUCED]
    far = max(others or points, key=lambda point: abs((point.found or 0.0) - point.reported))
    apart = (far.found or 0.0) - far.reported
    unit = "points" if claim.unit == "%" else claim.unit
    farthest = "farthest of the others" if agree and others else "farthest"
    return f"{reached}; {farthest} {'+' if apart > 0 else ''}{show(apart, unit)} at {show(far.place)}"
