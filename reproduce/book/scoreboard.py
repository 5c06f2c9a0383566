"""What came out: every claim beside its measurement, as rows, counts and tables for book and README."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from cifar_utils.errors import LedgerError, RunError
from cifar_utils.paths import root

from ..cards import Row, cell
from ..ledger import LITERATURE, load_reports
from ..record import write_text
from ..verdict import Verdict
from . import headlines

#: What claims are counted by: an experiment can come out either way, a formula cannot.
GROUPS = ("experiments", "derivations and settings")


def read_records(folder: Path) -> dict[str, dict]:
    """Return the record of every notebook that left one in `folder`, by the notebook's name.

    Raises:
        RunError: a file is not JSON.
    """
    records = {}
    for path in sorted(folder.glob("*.json")):
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise RunError(f"{path.name} is not JSON ({error}); run its notebook again.") from None
        if isinstance(record, dict) and "measurements" in record:
            records[path.stem] = record
    return records


def rows(records: dict[str, dict]) -> list[Row]:
    """Return one row a claim, in the ledger's order, each verdict judged anew."""
    claims = [claim for report in load_reports().values() for claim in report.claims]
    return [Row.of(claim, records.get(claim.notebook)) for claim in claims]


def of_students(table: Iterable[Row]) -> list[Row]:
    """Return the rows of the students' reports: what the book counts."""
    return [row for row in table if not row.claim.is_of_literature]


def listed(table: Iterable[Row]) -> list[Row]:
    """Return the rows that the scoreboard has: of the literature only what a chapter has judged."""
    return [row for row in table if row.verdict != Verdict.NOT_RUN or not row.claim.is_of_literature]


def counts(table: Iterable[Row]) -> dict[Verdict, int]:
    """Return how many rows have each verdict; verdicts that nobody has are left out."""
    found = Counter(row.verdict for row in table)
    return {verdict: found[verdict] for verdict in Verdict if found[verdict]}


def grouped(table: Iterable[Row]) -> dict[str, list[Row]]:
    """Return the rows that an experiment answers, and apart from them those that paper and pencil do."""
    groups: dict[str, list[Row]] = {name: [] for name in GROUPS}
    for row in table:
        groups["experiments" if row.claim.can_be_fitted else "derivations and settings"].append(row)
    return {name: rows for name, rows in groups.items() if rows}


def sentence(table: Sequence[Row]) -> str:
    """Return the state of the ledger in one sentence; experiments are counted apart."""
    if not table:
        return "The ledger holds no claim yet."
    if all(row.verdict == Verdict.NOT_RUN for row in table):
        return f"{_many(len(table), 'claim').capitalize()} in the ledger, none run yet."
    parts = []
    for name, rows in grouped(table).items():
        found = [f"{n} {verdict}" for verdict, n in counts(rows).items()]
        parts.append(f"of {len(rows)} {name} {', '.join(found)}")
    return f"{_many(len(table), 'claim').capitalize()} in the ledger: {'; '.join(parts)}."


@dataclass(frozen=True)
class Finding:
    """A claim that the first page tells of, chosen by hand.

    Attributes:
        row: the claim, with what was found for it.
        title: what happened, in a few words.
        why: what one learns from it, a sentence or two.
        cell: the cell of its chapter whose figure shows it; may be empty.
    """

    row: Row
    title: str
    why: str
    cell: str = ""


def findings(table: Iterable[Row], path: Path) -> list[Finding]:
    """Return the findings of `book/findings.yml` whose claims were judged, in its order.

    Raises:
        LedgerError: one names no claim of the ledger, or has other fields.
    """
    rows, found = {row.claim.id: row for row in table}, []
    for entry in yaml.safe_load(path.read_text(encoding="utf-8")) or () if path.exists() else ():
        if set(entry) - {"cell"} != {"claim", "title", "why"}:
            raise LedgerError(f"{path.name}: {entry!r}; expected claim, title and why, and perhaps cell.")
        if entry["claim"] not in rows:
            raise LedgerError(f"{path.name}: {entry['claim']} is no claim of the ledger.")
        row = rows[entry["claim"]]
        if row.verdict not in (Verdict.NOT_RUN, Verdict.SAMPLE_DATA):
            found.append(Finding(row, entry["title"], entry["why"], entry.get("cell", "")))
    return found


# ---- Markdown for the README ----


def readme_table(results: Path) -> str:
    """Return the Markdown table reported | reproduced | verdict of the findings that were chosen by hand."""
    chosen = findings(rows(read_records(results)), root() / "book" / "findings.yml")
    if not chosen:
        return "No chapter is published yet."
    lines = ["| Claim | Reported | Reproduced | Verdict |", "|---|---|---|---|"]
    for finding in chosen:
        row = finding.row
        lines.append(f"| **{cell(finding.title)}.** {cell(finding.why)} | | | |")
        says = f"[{cell(row.claim.says)}](book/chapters/{row.claim.notebook}.ipynb)"
        says += f" ({cell(row.claim.asks)})" if row.claim.asks else ""
        lines.append(f"| {says} | {cell(row.reported)} | {cell(row.reproduced)} | {row.verdict.signed} |")
    return "\n".join(lines)


def update_readme(path: Path, results: Path) -> None:
    """Write table and summary anew between their markers in the README.

    Raises:
        RunError: a marker is missing.
    """
    text = path.read_text(encoding="utf-8")
    text = replace_between(text, "results", readme_table(results), path.name)
    table = rows(read_records(results))
    text = replace_between(text, "summary", sentence(of_students(table)), path.name)
    for part in ("headlines", "beyond"):
        told = headlines.read(table, root() / "book" / "headlines.yml", part in LITERATURE)
        text = replace_between(text, part, headlines.as_markdown(told), path.name)
    write_text(path, text)


def replace_between(text: str, name: str, new: str, file: str = "text") -> str:
    """Return `text` with what stands between `<!-- NAME:begin -->` and `<!-- NAME:end -->` replaced.

    Raises:
        RunError: the markers are not there exactly once and in order.
    """
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise RunError(f"{file} must hold {begin} and {end} once each, in this order.")
    before, _, rest = text.partition(begin)
    return f"{before}{begin}\n{new}\n{end}{rest.partition(end)[2]}"


def _many(n: int, what: str) -> str:
    return f"{n} {what}" + ("" if n == 1 else "s")
