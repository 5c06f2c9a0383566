"""The picture of the first page: every accuracy that a report prints, against the one that came out here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ..cards import Row
from ..show import show
from ..verdict import Verdict, compare

#: Verdicts whose points stand out; others are drawn, too, but quietly.
JUDGED = (Verdict.REPRODUCED, Verdict.DIFFERS, Verdict.NOT_RESOLVED, Verdict.FITTED)


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


def _of(row: Row) -> Iterator[Dot]:
    claim, found = row.claim, row.found
    if claim.kind != "measured" or claim.unit != "%" or found is None or not row.profile:
        return
    if claim.points:
        judged = row.verdict in JUDGED
        for point in compare(claim, found):
            if point.found is not None:
                place, verdict = f"{claim.along} {show(point.place)}", point.verdict if judged else row.verdict
                yield Dot(row, point.reported, point.found, point.found, point.found, place, verdict)
    elif found.value is not None and claim.value is not None:
        low, high = (found.value, found.value) if found.low is None else (found.low, found.high)
        yield Dot(row, claim.value, found.value, low, high, "", row.verdict)
