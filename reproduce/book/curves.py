"""Every curve of a report with ours laid over it, drawn from the points that the results hold."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from ..cards import Row
from ..show import show, show_interval
from ..verdict import Verdict, compare

#: The name of the file for a spreadsheet, beside the page.
FILE = "curves.csv"

#: Size of a picture, and what its frame leaves free on the left, right, top and bottom.
WIDTH, HEIGHT = 420, 230
LEFT, RIGHT, TOP, BOTTOM = 52, 14, 12, 42


@dataclass(frozen=True)
class Place:
    """One place of a curve that the report gives a number for.

    Attributes:
        at: where, such as an epoch.
        reported: the report's number.
        within: how far off one may be for the claim's verdict.
        found, low, high: ours with its interval; None where our run did not come as far, or exploded.
        verdict: what the place would earn alone; None where there is nothing of ours.
    """

    at: float
    reported: float
    within: float
    found: float | None = None
    low: float | None = None
    high: float | None = None
    verdict: Verdict | None = None


@dataclass(frozen=True)
class Curve:
    """A claim along a curve, as a picture and as numbers."""

    row: Row

    @cached_property
    def places(self) -> list[Place]:
        """The report's places, with ours where there is any."""
        claim, found = self.row.claim, self.row.found
        ours = {place: (mean, low, high) for place, mean, low, high in found.points} if found else {}
        judged = {point.place: point.verdict for point in compare(claim, found)} if found else {}
        return [
            Place(at, value, claim.tolerance_of(value), *ours.get(at, (None, None, None)), judged.get(at))
            for at, value in claim.points
        ]

    @cached_property
    def reached(self) -> list[Place]:
        """The places with a number of ours."""
        return [place for place in self.places if place.found is not None]

    def words(self, place: Place) -> str:
        """What a pointer that rests on a place reads."""
        claim = self.row.claim
        told = f"{claim.along} {show(place.at)}: reported {show(place.reported, claim.unit)}"
        if place.found is None:
            return f"{told}; our run has no number there"
        ours = show_interval(place.found, place.low, place.high, claim.unit)
        return f"{told}, here {ours}: {place.verdict}"

    # ---- geometry ----

    @cached_property
    def _across(self) -> tuple[list[float], float, float]:
        return _ticks([place.at for place in self.places])

    @cached_property
    def _upwards(self) -> tuple[list[float], float, float]:
        ends = [
            v for p in self.places for v in (p.reported - p.within, p.reported + p.within, p.low, p.high, p.found)
        ]
        return _ticks([v for v in ends if v is not None])

    @property
    def ticks(self) -> tuple[list[float], list[float]]:
        """The numbers written across and upwards."""
        return self._across[0], self._upwards[0]

    def x(self, at: float) -> float:
        """Return where a place stands in the picture."""
        _, low, high = self._across
        return LEFT + (WIDTH - LEFT - RIGHT) * (at - low) / (high - low)

    def y(self, value: float) -> float:
        """Return how far down a value stands in the picture."""
        _, low, high = self._upwards
        return TOP + (HEIGHT - TOP - BOTTOM) * (high - value) / (high - low)


def _ticks(values: Iterable[float]) -> tuple[list[float], float, float]:
    """Return round numbers that lie among some values, and the range to draw, a little wider than the values."""
    from matplotlib.ticker import MaxNLocator  # here: it takes a second to load

    values = list(values)
    low, high = min(values), max(values)
    margin = 0.04 * ((high - low) or 1)
    low, high = low - margin, high + margin
    return [float(t) for t in MaxNLocator(5).tick_values(low, high) if low <= t <= high], low, high


def of(rows: Iterable[Row]) -> list[Curve]:
    """Return the curves among some claims of which a run reached at least one place."""
    return [curve for row in rows if row.claim.points and (curve := Curve(row)).reached]


def as_csv(curves: Iterable[Curve]) -> str:
    """Return the points of all curves, for a spreadsheet."""
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(
        ["claim", "says", "along", "place", "unit", "reported", "within", "found", "low", "high", "verdict"]
    )
    for curve in curves:
        claim = curve.row.claim
        for p in curve.places:
            table.writerow([claim.id, claim.says, claim.along, p.at, claim.unit, p.reported, p.within, p.found, p.low,
                            p.high, p.verdict or ""])  # fmt: skip
    return out.getvalue()
