"""The numbers that each report is remembered by, beside ours: at the head of the README, and on the first page."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import yaml

from cifar_utils.errors import LedgerError

from ..cards import Row, cell
from ..show import show, show_interval
from ..verdict import Verdict, compare


@dataclass(frozen=True)
class Headline:
    """One number of a report beside ours.

    Attributes:
        about: what was measured, in words.
        row: the claim, with what was found for it.
        reported: what the report says; of a curve, at the last place that ours reached.
        reproduced: what came out here, there.
        verdict: of that number.
        note: how large our run was where it is smaller than the report's, or that it is one of many; of a curve, the
            place.
    """

    about: str
    row: Row
    reported: str
    reproduced: str
    verdict: Verdict
    note: str


def read(rows: Iterable[Row], path: Path, literature: bool = False) -> list[Headline]:
    """Return the headlines of `book/headlines.yml` in its order: of the students' reports, or of the literature.

    Raises:
        LedgerError: one names no claim of the ledger, or has other fields.
    """
    by_claim, found = {row.claim.id: row for row in rows}, []
    for entry in yaml.safe_load(path.read_text(encoding="utf-8")) or () if path.exists() else ():
        if set(entry) != {"about", "claim"}:
            raise LedgerError(f"{path.name}: {entry!r}; expected about and claim.")
        if entry["claim"] not in by_claim:
            raise LedgerError(f"{path.name}: {entry['claim']} is no claim of the ledger.")
        row = by_claim[entry["claim"]]
        if row.claim.is_of_literature == literature:
            found.append(_headline(entry["about"], row))
    return found


def _headline(about: str, row: Row) -> Headline:
    claim, found = row.claim, row.found
    if not claim.points:
        small, one = bool(found) and not found.full_scale, bool(found) and found.is_one_of_many
        note = "a smaller run" if small else "one run" if one else ""
        return Headline(about, row, row.reported, row.reproduced, row.verdict, note)
    reached = compare(claim, found) if found else []
    if not found or not reached:
        place, value = claim.points[-1]
        return Headline(about, row, show(value, claim.unit), "—", row.verdict, f"at {claim.along} {show(place)}")
    last = reached[-1]
    _, mean, low, high = next(point for point in found.points if point[0] == last.place)
    told = show_interval(mean, low, high, claim.unit)
    where = f"at {claim.along} {show(last.place)}"
    if last.place != claim.points[-1][0]:
        where += f" of {show(claim.points[-1][0])}"
    return Headline(about, row, show(last.reported, claim.unit), told, last.verdict, where)


def as_markdown(headlines: Iterable[Headline]) -> str:
    """Return the table for the README."""
    lines = ["| Reported | What | Reproduced | |", "|---|---|---|---|"]
    for each in headlines:
        link = f"[{cell(each.about)}](book/chapters/{each.row.claim.notebook}.ipynb)"
        note = f" ({each.note})" if each.note else ""
        lines.append(f"| {cell(each.reported)} | {link}{note} | {cell(each.reproduced)} | {each.verdict.signed} |")
    return "\n".join(lines)
