"""What is computed for the book's pages: for each directive, a template and what to fill it with."""

from __future__ import annotations

import base64
import io
import json
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import yaml
from PIL import Image

from cifar_utils.errors import RunError
from cifar_utils.paths import root

from ..cards import Row
from ..ledger import LITERATURE, load_reports
from ..params import PROFILES
from ..recipes import duration
from ..show import show, show_interval
from ..verdict import Verdict
from . import benchmarks, comparison, cost, curves, headlines, hero, pdf, scoreboard, trainings_page
from .edition import Edition

#: What a profile ran on, in a few words.
EFFORT = {"smoke": "sample data", "quick": "real data, two CPU cores", "full": "real data, the reports' size"}

#: Every kind of claim, for a reader.
KINDS_IN_WORDS = {
    "measured": "A number that came out of an experiment",
    "direction": "An effect's sign, or its absence",
    "derivation": "Follows from definitions",
    "setting": "A choice that the report states",
}


@dataclass(frozen=True)
class Place:
    """The page that a generated part stands on.

    Attributes:
        edition: the runs that the book is made of.
        address: gives the relative address of another page, by its name.
        picture: takes a file name and a PNG, and gives the path by which Markdown finds it.
    """

    edition: Edition
    address: Callable[[str], str]
    picture: Callable[[str, bytes], str]

    def link(self, row: Row) -> str:
        """Return the address of a claim's row on its chapter's page; empty where the book has no such page."""
        name = row.claim.notebook
        return f"{self.address(f'chapters/{name}')}#{row.anchor}" if name in self.edition.records else ""


def tiles(at: Place) -> tuple[str, dict]:
    """One tile a verdict with its count, each a link to the scoreboard filtered by it; experiments apart."""
    return "tiles.html.j2", _counted(at, scoreboard.of_students(at.edition.rows))


def _counted(at: Place, rows: list[Row], report: str = "") -> dict:
    """Return what the tiles of some rows are filled with."""
    groups = [
        {"name": name, "size": len(each), "counts": scoreboard.counts(each),
         "kinds": ",".join(sorted({row.claim.kind for row in each}))}
        for name, each in scoreboard.grouped(rows).items()
    ]  # fmt: skip
    return {"groups": groups, "scoreboard": at.address("scoreboard"), "report": report}


def picture(at: Place) -> tuple[str, dict]:
    """Every accuracy that a report prints against ours."""
    values = hero.values(at.edition.rows)
    seen = {dot.verdict for dot in values["dots"]}
    return "hero.html.j2", {**values, "verdicts": [v for v in Verdict if v in seen], "link": at.link, "style": ""}


def state(at: Place) -> tuple[str, dict]:
    """How many chapters there are, at which profiles, and of when."""
    records, planned = at.edition.records.values(), sum(map(len, at.edition.plans.values()))
    by = {profile: sum(record["profile"] == profile for record in records) for profile in PROFILES}
    return "state.md.j2", {
        "published": len(records),
        "planned": planned,
        "at": [f"{n} at profile `{profile}` ({EFFORT[profile]})" for profile, n in by.items() if n],
        "latest": max((record["started"][:10] for record in records), default=""),
    }


def pdf_link(_: Place) -> tuple[str, dict]:
    """A link to the book in one file, where that is being made."""
    return "pdf_link.html.j2", {"file": pdf.FILE if os.environ.get(pdf.LINKED) else ""}


def headline_numbers(at: Place, of: str = "") -> tuple[str, dict]:
    """The numbers that each report is remembered by, or those of the literature (`beyond`), beside ours."""
    told = headlines.read(at.edition.rows, root() / "book" / "headlines.yml", of in LITERATURE)
    return "headlines.html.j2", {"headlines": told, "link": at.link}


def highlights(at: Place, report: str = "") -> tuple[str, dict]:
    """The findings that were chosen by hand, each with the figure that shows it; of one report, or of all."""
    chosen = []
    for finding in scoreboard.findings(at.edition.rows, root() / "book" / "findings.yml"):
        if report not in ("", finding.row.claim.report):
            continue
        picture = figure_of(at.edition.notebook(finding.row.claim.notebook), finding.cell) if finding.cell else None
        name = f"finding-{finding.row.claim.id.replace('.', '-')}.png"
        chosen.append({"finding": finding, "picture": at.picture(name, few_colours(picture)) if picture else ""})
    return "highlights.md.j2", {"chosen": chosen, "link": at.link}


def few_colours(png: bytes) -> bytes:
    """Return a picture in 64 colours of its own, half as heavy: a drawing has hardly more."""
    out = io.BytesIO()
    with Image.open(io.BytesIO(png)) as picture:
        picture.convert("RGB").quantize(64, dither=Image.Dither.NONE).save(out, "PNG")
    return out.getvalue()


def figure_of(notebook: Path, cell: str) -> bytes:
    """Return the first picture, a PNG, among a cell's outputs.

    Raises:
        RunError: the notebook has no such cell, or the cell shows no picture.
    """
    return _shown_by(notebook, cell)[1]


def _shown_by(notebook: Path, cell: str) -> tuple[dict, bytes]:
    """Return what a cell's figure is called and told as, and its picture; raise what `figure_of` does."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    for each in (each for each in cells if each.get("id") == cell):
        for output in each["outputs"]:
            if "image/png" in output.get("data", {}):
                told = each["metadata"].get("mystnb", {})
                return told, base64.b64decode(output["data"]["image/png"])
    raise RunError(f"Cell {cell!r} of {notebook.name} shows no figure; name another one in book/*.yml.")


def gallery(at: Place) -> tuple[str, dict]:
    """Figures of one kind from all chapters, by `book/gallery.yml`; of chapters that have a page."""
    groups = []
    for group in yaml.safe_load((root() / "book" / "gallery.yml").read_text(encoding="utf-8")):
        shown = [_in_gallery(at, **row) for row in group["rows"] if row["notebook"] in at.edition.records]
        groups.append((group["name"], [each for each in shown if each]))
    first = _READ_FIRST if _READ_FIRST in at.edition.records else ""
    link = {"title": at.edition.title(first), "name": first} if first else None
    return "gallery.md.j2", {"groups": [(name, shown) for name, shown in groups if shown], "first": link}


#: The chapter that says how to read a map.
_READ_FIRST = "a1_q2_3_tsne"


def _in_gallery(at: Place, notebook: str, cell: str) -> dict[str, str] | None:
    """Return what the gallery shows of a cell; None for a run of one's own that has no such figure."""
    try:
        told, png = _shown_by(at.edition.notebook(notebook), cell)
    except RunError:
        if at.edition.profile:
            return None
        raise
    figure, page = told["figure"], at.address(f"chapters/{notebook}")
    return {
        "picture": at.picture(f"gallery-{notebook}-{cell}.png", png),
        "alt": told.get("image", {}).get("alt", figure["caption"]),
        "caption": figure["caption"],
        "title": at.edition.title(notebook),
        "link": f"{page}#{figure['name']}" if figure.get("name") else page,
    }


def table_of_claims(at: Place) -> tuple[str, dict]:
    """Every claim, with the names that scoreboard.js makes filters of."""
    rows = scoreboard.listed(at.edition.rows)
    seen = {row.claim.report for row in rows}
    sources = [r for r in load_reports().values() if r.id in seen or r.id not in LITERATURE]
    names = {
        "report": {r.id: [r.id.upper(), f"{r.title} ({r.course})"] for r in sources},
        "kind": {kind: [kind, meaning] for kind, meaning in KINDS_IN_WORDS.items()},
        "verdict": {v.slug: [v.signed, v.meaning] for v in Verdict},
    }
    return "scoreboard.html.j2", {"rows": rows, "link": at.link, "names": names}


def accuracies(at: Place) -> tuple[str, dict]:
    """What reaches which accuracy, by data set."""
    return "accuracies.html.j2", _compared(at, "accuracy")


def what_helps(at: Place) -> tuple[str, dict]:
    """What changes an accuracy by how much, by measure."""
    styles = {"helps": "cu-reproduced", "hurts": "cu-differs", "cannot tell": "cu-not-resolved"}
    return "helps.html.j2", {**_compared(at, "helps"), "styles": styles}


def _compared(at: Place, part: str) -> dict:
    groups, edition = comparison.read(at.edition, root() / "book" / "compare.yml", part), at.edition

    def link(row: comparison.Compared) -> str:
        return at.address(f"chapters/{row.notebook}") + (f"#{row.anchor}" if row.anchor else "")

    return {
        "groups": groups,
        "link": link,
        "titles": {name: edition.title(name) for name in edition.records},
        "profiles": {name: record["profile"] for name, record in edition.records.items()},
    }


def by_report(at: Place) -> tuple[str, dict]:
    """How many claims of each student's report have which verdict; experiments apart."""
    groups, kinds, sums = [], {}, {}
    for name, rows in scoreboard.grouped(scoreboard.of_students(at.edition.rows)).items():
        found = scoreboard.counts(rows)
        table = {verdict: Counter(r.claim.report for r in rows if r.verdict == verdict) for verdict in found}
        groups.append((name, table))
        kinds[name] = ",".join(sorted({r.claim.kind for r in rows}))
        sums[name] = Counter(r.claim.report for r in rows)
    reports = [report for report in load_reports() if report not in LITERATURE]
    values = {"groups": groups, "kinds": kinds, "sums": sums, "reports": reports, "address": at.address}
    return "by_report.html.j2", values


def verdicts(at: Place) -> tuple[str, dict]:
    """Every verdict with its badge, its meaning and an example, one of the findings if it can be."""
    chosen = [finding.row for finding in scoreboard.findings(at.edition.rows, root() / "book" / "findings.yml")]
    such = {}
    for row in [*chosen, *at.edition.rows]:
        such.setdefault(row.verdict, row)
    return "verdicts.html.j2", {"verdicts": list(Verdict), "such": such, "link": at.link}


def report_title(_: Place, report: str) -> tuple[str, dict]:
    """A report's title and course."""
    return "title.md.j2", {"report": load_reports().get(report), "literature": report in LITERATURE}


def report_state(at: Place, report: str) -> tuple[str, dict]:
    """What came out for a report's claims, in a sentence and in tiles."""
    rows = [row for row in at.edition.rows if row.claim.report == report]
    sentence = scoreboard.sentence(rows) if rows else "None of this report's claims are in the ledger yet."
    counted = _counted(at, scoreboard.listed(rows), report)  # tiles lead to the scoreboard, which lists what was run
    return "report.html.j2", {"sentence": sentence, **counted}


def chapters(at: Place, report: str) -> tuple[str, dict]:
    """A report's chapters, each with its profile, and those that are planned."""
    plan = [{"notebook": "", **entry} for entry in at.edition.plans[report]]
    records = {entry["notebook"]: at.edition.records.get(entry["notebook"]) for entry in plan}
    records = {name: record for name, record in records.items() if record}
    of = "part" if report in LITERATURE else "report"
    return "chapters.md.j2", {"plan": plan, "records": records, "earlier": at.edition.earlier, "of": of}


def speed(at: Place) -> tuple[str, dict]:
    """Figure, table and machine of the last benchmarks."""
    path = at.edition.results / "benchmarks.json"
    return "benchmarks.md.j2", benchmarks.read(path, at.picture)


def modules(_: Place, package: str) -> tuple[str, dict]:
    """The reference of every module that lies directly in a package."""
    folder = Path(__file__).parents[2].joinpath(*package.split("."))
    names = sorted(path.stem for path in folder.glob("*.py") if not path.stem.startswith("__"))
    if not names:
        raise RunError(f"There is no package {package} to write a reference of.")
    return "modules.md.j2", {"names": [f"{package}.{name}" for name in names]}


def trainings(at: Place) -> tuple[str, dict]:
    """All trainings that the chapters were made from."""
    rows = trainings_page.rows(at.edition)
    told = trainings_page.summary(rows) if rows else ""
    return "trainings.html.j2", {"rows": rows, "summary": told, "address": at.address, "file": trainings_page.FILE}


def curves_of_reports(at: Place) -> tuple[str, dict]:
    """Every curve of a report with ours over it, by chapter."""
    groups: dict[str, list[curves.Curve]] = {}
    for curve in curves.of(at.edition.rows):
        groups.setdefault(at.edition.title(curve.row.claim.notebook), []).append(curve)
    count = sum(map(len, groups.values()))
    values = {"groups": list(groups.items()), "count": count, "size": curves, "file": curves.FILE}
    return "curves.html.j2", {**values, "link": at.link, "show": show, "show_interval": show_interval}


def what_it_cost(at: Place) -> tuple[str, dict]:
    """What the trainings cost, by chapter and by device, and what those would that claims wait for."""
    rows, total = cost.by_chapter(at.edition)
    titles = {name: at.edition.title(name) for name, _ in rows}
    devices = sorted(total.seconds.items(), key=lambda pair: -pair[1])
    waiting = cost.waiting(at.edition, total)
    titles |= {each.chapter: at.edition.title(each.chapter) for each in waiting}
    values = {"rows": rows, "total": total, "titles": titles, "devices": devices, "waiting": waiting}
    return "cost.html.j2", {**values, "address": at.address, "duration": duration}


#: Every directive, by its name on a page.
PARTS: dict[str, Callable[..., tuple[str, dict]]] = {
    "tiles": tiles,
    "picture": picture,
    "state": state,
    "pdf-link": pdf_link,
    "headlines": headline_numbers,
    "highlights": highlights,
    "gallery": gallery,
    "scoreboard": table_of_claims,
    "by-report": by_report,
    "accuracies": accuracies,
    "what-helps": what_helps,
    "verdicts": verdicts,
    "report-title": report_title,
    "report-state": report_state,
    "chapters": chapters,
    "benchmarks": speed,
    "modules": modules,
    "trainings": trainings,
    "cost": what_it_cost,
    "curves": curves_of_reports,
}
