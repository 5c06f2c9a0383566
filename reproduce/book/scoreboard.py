"""What came out: every claim beside its measurement, as rows, counts and tables for book and README."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from html import escape
from pathlib import Path

from cifar_utils.errors import RunError

from ..cards import badge
from ..ledger import Claim, Measurement, load_reports, show_found, show_reported
from ..record import write_text
from ..verdict import Verdict, judge

#: How many rows the README shows at most; the scoreboard has them all.
README_ROWS = 15

#: Every kind of claim, for a reader.
KINDS_IN_WORDS = {
    "measured": "A number that came out of an experiment",
    "direction": "An effect's sign, or its absence",
    "derivation": "Follows from definitions",
    "setting": "A choice that the report states",
}

_FIELDS = {f.name for f in fields(Measurement)}


@dataclass(frozen=True)
class Row:
    """One claim with what was found for it.

    Attributes:
        claim: the claim.
        found: the measurement, or None.
        verdict: judged now and not read from the record.
        profile: profile of the run, empty where there is none.
    """

    claim: Claim
    found: Measurement | None = None
    verdict: Verdict = Verdict.NOT_RUN
    profile: str = ""

    @property
    def reported(self) -> str:
        """What the report says, as text."""
        return show_reported(self.claim)

    @property
    def reproduced(self) -> str:
        """What we found, as text."""
        return show_found(self.claim, self.found) if self.found else "—"


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
    table = []
    for report in load_reports().values():
        for claim in report.claims:
            record = records.get(claim.notebook)
            stored = record["measurements"].get(claim.id) if record else None
            if stored is None:
                table.append(Row(claim))
                continue
            found = Measurement(**{k: v for k, v in stored.items() if k in _FIELDS})
            table.append(Row(claim, found, judge(claim, found, record["sample"]), record["profile"]))
    return table


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


# ---- HTML for the book ----


def tiles(table: Sequence[Row], page: str = "scoreboard.html") -> str:
    """Return one tile a verdict with its count, each a link to the scoreboard filtered by it."""
    lines = [
        f'<a class="cu-tile {verdict.style}" href="{page}?verdict={verdict.slug}" '
        f'title="{escape(verdict.meaning)}"><b>{n}</b><span>{verdict.sign}&nbsp;{verdict}</span></a>'
        for verdict, n in counts(table).items()
    ]
    return f'<div class="cu-tiles">{"".join(lines)}</div>' if lines else "<p>The ledger holds no claim yet.</p>"


def html_table(table: Sequence[Row], pages: dict[str, str], search: bool = False) -> str:
    """Return rows as an HTML table; with `search`, scoreboard.js puts filters above it.

    Args:
        table: rows.
        pages: for each notebook that has a page, the page's address.
        search: whether this is the scoreboard.
    """
    lines = [_html_row(row, pages.get(row.claim.notebook), search) for row in table]
    heads = ("The report says", "Reported", "Reproduced", "Verdict")
    head = "".join(f'<th scope="col">{text}</th>' for text in heads)
    mark = ' id="cu-scoreboard"' if search else ""
    return (
        f'<div class="cu-scroll"><table class="cu-ledger"{mark}><thead><tr>{head}</tr></thead>'
        f"<tbody>\n{chr(10).join(lines)}\n</tbody></table></div>"
    )


def _html_row(row: Row, page: str | None, search: bool) -> str:
    claim, found = row.claim, row.found
    says = f'<a href="{page}">{escape(claim.says)}</a>' if page else escape(claim.says)
    small = [f"{escape(claim.where)}", f"<code>{claim.id}</code>"] + (
        [f"profile {row.profile}"] if row.profile else []
    )
    note = f"<br><small>{escape(found.note)}</small>" if found and found.note else ""
    method = f"<br><small>{escape(found.method)}</small>" if found and found.method else ""
    data = ""
    if search:
        data = (f' id="{claim.id}" data-report="{claim.report}" data-kind="{claim.kind}" '
                f'data-verdict="{row.verdict.slug}"')  # fmt: skip
    return (
        f'<tr{data}><td data-label="The report says"><b>{says}</b><br><small>{" · ".join(small)}</small>{note}</td>'
        f'<td data-label="Reported">{escape(row.reported)}</td>'
        f'<td data-label="Reproduced">{escape(row.reproduced)}{method}</td>'
        f'<td data-label="Verdict">{badge(row.verdict)}</td></tr>'
    )


def filters() -> str:
    """Return the names behind the scoreboard's filters, as JSON that scoreboard.js reads."""
    names = {
        "report": {r.id: [r.id.upper(), f"{r.title} ({r.course})"] for r in load_reports().values()},
        "kind": {kind: [kind, meaning] for kind, meaning in KINDS_IN_WORDS.items()},
        "verdict": {v.slug: [v.signed, v.meaning] for v in Verdict},
    }
    text = json.dumps(names, ensure_ascii=False).replace("<", "\\u003c")
    return f'<script type="application/json" id="cu-filter-names">{text}</script>'


def verdict_list() -> str:
    """Return every verdict with its badge and meaning."""
    body = "".join(f"<dt>{badge(v)}</dt><dd>{escape(v.meaning)}</dd>" for v in Verdict)
    return f'<dl class="cu-verdicts">{body}</dl>'


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


def cell(text: str) -> str:
    """Return text that may stand in a cell of a Markdown table."""
    return text.replace("|", "\\|").replace("[", "\\[").replace("]", "\\]")
