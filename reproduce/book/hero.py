"""The picture of the first page: every accuracy that a report prints, against the one that came out here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ..cards import Row, render
from ..show import show
from ..verdict import Verdict, compare

#: Verdicts whose points stand out; others are drawn, too, but quietly.
JUDGED = (Verdict.REPRODUCED, Verdict.DIFFERS, Verdict.NOT_RESOLVED, Verdict.FITTED)


#: The colours of the picture where it stands alone: by day, and by night for who has asked for it.
STYLE = """
svg { --ground: #fff; --quiet: #57606a; --line: #d5dae0 }
.cu-reproduced { --ink: #0b6b45 } .cu-differs { --ink: #9a3b00 } .cu-not-resolved { --ink: #6f7200 }
.cu-fitted { --ink: #00616b } .cu-not-run-at-full-scale { --ink: #1f5078 }
@media (prefers-color-scheme: dark) {
  svg { --ground: #0d1117; --quiet: #a5afb9; --line: #3c444d }
  .cu-reproduced { --ink: #7fdcb0 } .cu-differs { --ink: #ffb184 } .cu-not-resolved { --ink: #e4e08a }
  .cu-fitted { --ink: #84d9e2 } .cu-not-run-at-full-scale { --ink: #9bcbf0 }
}
svg { background: var(--ground) } text { font: 13px sans-serif; fill: var(--quiet) }
.cu-axis { fill: none; stroke: var(--line) } .cu-same { fill: none; stroke: var(--quiet); stroke-dasharray: 4 4 }
circle { fill: var(--ink); fill-opacity: 0.75; stroke: var(--ground) } .cu-small circle { fill-opacity: 0.5 }
.cu-not-run-at-full-scale circle { fill: none; stroke: var(--ink) } g path { stroke: var(--ink) }
"""


@dataclass(frozen=True)
class Dot:
    """One accuracy, in percent.

    Attributes:
        row: its claim.
        reported, found: the two numbers.
        low, high: interval of ours; both `found` where there is none.
        place: of a curve, where on it, in words; empty for a single number.
        verdict: of this point, for a curve; of the claim otherwise.
    """

    row: Row
    reported: float
    found: float
    low: float
    high: float
    place: str
    verdict: Verdict

    @property
    def words(self) -> str:
        """What a pointer that rests on it reads."""
        at = f" ({self.place})" if self.place else ""
        return (
            f"{self.row.claim.report.upper()}: {self.row.claim.says}{at}. Reported {show(self.reported, '%')}, "
            f"here {show(self.found, '%')}: {self.verdict}."
        )


def dots(rows: Iterable[Row]) -> list[Dot]:
    """Return one dot an accuracy, those of curves and of verdicts to come first: others lie above."""
    found = [dot for row in rows for dot in _of(row)]
    return sorted(found, key=lambda dot: (dot.verdict in JUDGED, not dot.place, dot.verdict != Verdict.REPRODUCED))


def values(rows: Iterable[Row]) -> dict:
    """Return what the picture's template is filled with, besides where its points lead."""
    found = dots(rows)
    return {"dots": found, "near": sum(abs(dot.reported - dot.found) <= 2 for dot in found)}


def alone(rows: Iterable[Row]) -> str:
    """Return the picture as a file of its own, for where no style sheet of the book is."""
    return render("hero.svg.j2", **values(rows), link=lambda _: "", style=STYLE)


def _of(row: Row) -> Iterator[Dot]:
    claim, found = row.claim, row.found
    if claim.is_of_literature or claim.kind != "measured" or claim.unit != "%" or found is None or not row.profile:
        return
    if claim.points:
        judged = row.verdict in JUDGED
        for point in compare(claim, found):
            if point.found is not None:
                place, verdict = f"{claim.along} {show(point.place)}", point.verdict if judged else row.verdict
                yield Dot(row, point.reported, point.found, point.found, point.found, place, verdict)
    elif found.value is not None and claim.value is not None:
        low, high = (found.value if end is None else end for end in (found.low, found.high))
        yield Dot(row, claim.value, found.value, low, high, "", row.verdict)
