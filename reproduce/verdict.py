"""Verdicts: what each is called, means and looks like, and the rule that gives one to a measurement."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from .ledger import Claim, Measurement


class Verdict(StrEnum):
    """What a measurement says of a claim; a string, as it stands in records and notebooks.

    A new verdict is a member here, a rule in `judge` and a colour in `book/_static/style.css`.

    Attributes:
        sign: one character before the name, so that it can be told apart without colour.
        rank: its place among a report's most telling claims; 0 comes first.
        meaning: one sentence for a reader.
    """

    sign: str
    rank: int
    meaning: str

    def __new__(cls, name: str, sign: str, rank: int, meaning: str) -> Verdict:
        """Make a member whose value is its name."""
        member = str.__new__(cls, name)
        member._value_, member.sign, member.rank, member.meaning = name, sign, rank, meaning
        return member

    # In the order in which counts and lists show them.
    REPRODUCED = (
        "reproduced", "✓", 3, "Our run, or the mathematics, agrees with the report within the stated tolerance.",
    )  # fmt: skip
    DIFFERS = (
        "differs", "≠", 1,
        "Our run, at the report's scale, gives something else, and the interval excludes the report.",
    )  # fmt: skip
    CORRECTED = (
        "corrected", "✎", 0,
        "The report's statement contradicts mathematics or its own numbers; the right value is shown.",
    )  # fmt: skip
    NOT_RESOLVED = ("not resolved", "?", 2, "The interval is too wide to decide; more seeds would.")
    FITTED = (
        "fitted", "⚙", 4,
        "The report's number helped to choose the setting that ours was measured with, so agreement proves nothing.",
    )  # fmt: skip
    NOT_FULL_SCALE = (
        "not run at full scale", "◔", 5, "Measured on less data or fewer epochs than the report's; no verdict yet.",
    )  # fmt: skip
    SAMPLE_DATA = ("sample data", "⚠", 6, "Run on the embedded sample data; says nothing about the report.")
    NOT_RUN = ("not run", "·", 7, "No result yet.")

    @property
    def slug(self) -> str:
        """The name without spaces, for addresses and attributes."""
        return self.replace(" ", "-")

    @property
    def style(self) -> str:
        """The CSS class that gives its colours."""
        return f"cu-{self.slug}"

    @property
    def signed(self) -> str:
        """The name behind its sign."""
        return f"{self.sign} {self}"


def judge(claim: Claim, found: Measurement, sample: bool) -> Verdict:
    """Return the verdict that a measurement earns for a claim.

    A measured value is `reproduced` when the mean lies within the tolerance and its interval is no wider than that;
    where only the interval reaches there, or it is wider, or one seed alone was run, it is `not resolved`. Along a
    curve this holds for every point that the run reached. A direction needs the whole interval on one side.
    Derivations and settings are exact: what does not agree is `corrected`. A number that helped to
    choose the setting it is compared with is `fitted`, however well it agrees.
    """
    if sample:
        return Verdict.SAMPLE_DATA
    if claim.kind in ("derivation", "setting"):
        return Verdict.REPRODUCED if _agrees(claim, found.value) else Verdict.CORRECTED
    if not found.full_scale:
        return Verdict.NOT_FULL_SCALE
    if claim.fitted or found.fitted:
        return Verdict.FITTED
    if claim.points:
        return _along_the_curve(claim, found)
    if found.value is None:
        return Verdict.DIFFERS
    low = found.value if found.low is None else found.low
    high = found.value if found.high is None else found.high
    if claim.kind == "measured" and found.is_one_of_many:
        return Verdict.NOT_RESOLVED  # another seed could say something else
    if claim.kind == "measured" and _agrees(claim, found.value):
        wide = claim.comparison == "equal" and claim.tolerance and high - low > 2 * claim.tolerance
        return Verdict.NOT_RESOLVED if wide else Verdict.REPRODUCED
    if claim.kind == "direction":
        if found.low is None:
            return Verdict.NOT_RESOLVED  # a direction without an interval is an anecdote
        if _agrees(claim, low) and _agrees(claim, high):
            return Verdict.REPRODUCED
    return Verdict.NOT_RESOLVED if _reaches(claim, low, high) else Verdict.DIFFERS


def _along_the_curve(claim: Claim, found: Measurement) -> Verdict:
    each = [point.verdict for point in compare(claim, found)]
    if len(each) < 2:
        return Verdict.NOT_FULL_SCALE
    if Verdict.DIFFERS in each:
        return Verdict.DIFFERS
    return Verdict.NOT_RESOLVED if Verdict.NOT_RESOLVED in each else Verdict.REPRODUCED


@dataclass(frozen=True)
class Point:
    """One place of a curve that the run reached.

    Attributes:
        place: where on the curve, such as an epoch.
        reported: what the report says there, in the claim's unit.
        found: our mean there; None where the run diverged.
        verdict: what it would earn alone.
    """

    place: float
    reported: float
    found: float | None
    verdict: Verdict


def compare(claim: Claim, found: Measurement) -> list[Point]:
    """Return the places of a claim along a curve that a run reached, each with its own verdict."""
    measured = {place: rest for place, *rest in found.points}
    points = []
    for place, reported in claim.points:
        if place in measured:
            mean, low, high = measured[place]
            alone = replace(claim, points=(), along="", value=reported, within=claim.tolerance_of(reported))
            verdict = judge(alone, replace(found, value=mean, low=low, high=high, points=()), sample=False)
            points.append(Point(place, reported, mean, verdict))
    return points


def _agrees(claim: Claim, value: float | None) -> bool:
    if value is None:
        return False
    target, slack = claim.value or 0.0, claim.tolerance * (1 + 1e-9) + 1e-12
    if claim.comparison == "greater":
        return value > target - (slack if claim.tolerance else 0)
    if claim.comparison == "less":
        return value < target + (slack if claim.tolerance else 0)
    return abs(value - target) <= slack


def _reaches(claim: Claim, low: float, high: float) -> bool:
    """Whether some value between `low` and `high` would agree with the claim."""
    target = claim.value or 0.0
    return any(_agrees(claim, v) for v in (low, high, min(max(target, low), high)))
