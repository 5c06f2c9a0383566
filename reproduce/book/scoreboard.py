"""What came out: every claim beside its measurement, as rows, counts and tables for book and README."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from cifar_utils.errors import RunError

from ..cards import Row, cell
from ..ledger import load_reports
from ..record import write_text
from ..verdict import Verdict

#: How many rows the README shows at most; the scoreboard has them all.
README_ROWS = 15


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


def counts(table: Iterable[Row]) -> dict[Verdict, int]:
    """Return how many rows have each verdict; verdicts that nobody has are left out."""
    found = Counter(row.verdict for row in table)
    return {verdict: found[verdict] for verdict in Verdict if found[verdict]}


def sentence(table: Sequence[Row]) -> str:
    """Return the state of the ledger in one sentence."""
    if not table:
        return "The ledger holds no claim yet."
    by = counts(table)
    waiting = by.pop(Verdict.NOT_RUN, 0)
    if not by:
        return f"{_many(waiting, 'claim').capitalize()} in the ledger, none run yet."
    parts = [f"{n} {verdict}" for verdict, n in by.items()]
    if waiting:
        parts.append(f"{waiting} not run yet")
    return f"Of {_many(len(table), 'claim')} in the ledger: {', '.join(parts)}."


def most_telling(table: Sequence[Row], limit: int) -> list[Row]:
    """Return at most `limit` judged rows in the ledger's order: what the reports got wrong comes first.

    Reports take turns, so that one with many claims does not crowd out the others; within a report
    corrected and differing claims come before open and reproduced ones.
    """
    judged = [row for row in table if row.verdict != Verdict.NOT_RUN]
    queues: dict[str, list[Row]] = {}
    for row in judged:
        queues.setdefault(row.claim.report, []).append(row)
    for queue in queues.values():
        queue.sort(key=lambda row: row.verdict.rank)
    chosen: set[str] = set()
    while len(chosen) < min(limit, len(judged)):
        for queue in queues.values():
            if queue and len(chosen) < limit:
                chosen.add(queue.pop(0).claim.id)
    return [row for row in judged if row.claim.id in chosen]


# ---- Markdown for the README ----


def readme_table(results: Path) -> str:
    """Return the Markdown table reported | reproduced | verdict of the most telling judged claims."""
    table = rows(read_records(results))
    judged = sum(row.verdict != Verdict.NOT_RUN for row in table)
    if not judged:
        return "No chapter is published yet."
    lines = ["| Claim | Reported | Reproduced | Verdict |", "|---|---|---|---|"]
    report = None
    for row in most_telling(table, README_ROWS):
        if row.claim.report != report:
            report = row.claim.report
            lines.append(f"| **{report.upper()}: {cell(load_reports()[report].title)}** | | | |")
        says = f"[{cell(row.claim.says)}](book/chapters/{row.claim.notebook}.ipynb)"
        says += f" ({cell(row.claim.asks)})" if row.claim.asks else ""
        lines.append(f"| {says} | {cell(row.reported)} | {cell(row.reproduced)} | {row.verdict.signed} |")
    if judged > README_ROWS:
        lines += ["", f"These are {README_ROWS} of {judged} judged claims; the book's scoreboard has all of them."]
    return "\n".join(lines)


def update_readme(path: Path, results: Path) -> None:
    """Write table and summary anew between their markers in the README.

    Raises:
        RunError: a marker is missing.
    """
    text = path.read_text(encoding="utf-8")
    text = replace_between(text, "results", readme_table(results), path.name)
    text = replace_between(text, "summary", sentence(rows(read_records(results))), path.name)
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
