"""HTML that chapters and the book share: a chapter's header card, and a row of the ledger wherever it stands."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path

import jinja2

from .evidence import Setting
from .ledger import Claim, Measurement, load_claims, load_reports
from .record import whole_seconds
from .show import show_found, show_reported
from .verdict import Verdict, judge

_MEASURED = {f.name for f in fields(Measurement)}


class Html:
    """HTML with a plain text beside it, for whatever shows the notebook."""

    def __init__(self, html: str, text: str = ""):
        self.html, self.text = html, text

    def _repr_html_(self) -> str:
        return self.html

    def __repr__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Row:
    """One claim with what was found for it.

    Attributes:
        claim: the claim.
        found: the measurement, or None.
        verdict: judged now and not read from the record.
        profile: profile of the run, empty where there is none.
        measured_at: anchor of the cell that measured it, for the page of its chapter; may be empty.
    """

    claim: Claim
    found: Measurement | None = None
    verdict: Verdict = Verdict.NOT_RUN
    profile: str = ""
    measured_at: str = ""

    @classmethod
    def of(cls, claim: Claim, record: dict | None, measured_at: str = "") -> Row:
        """Return the row of a claim, judged on what its notebook's record says, if that was in the claim's unit."""
        if record is None or claim.id not in record["measurements"]:
            return cls(claim)
        stored = record["measurements"][claim.id]
        if not _is_of_todays_kind(claim, stored):
            return cls(claim)
        found = Measurement(**{key: value for key, value in stored.items() if key in _MEASURED})
        return cls(claim, found, judge(claim, found, record["sample"]), record["profile"], measured_at)

    @property
    def anchor(self) -> str:
        """Where the row stands on its chapter's page and on the scoreboard."""
        return f"claim-{self.claim.id.replace('.', '-')}"

    @property
    def reported(self) -> str:
        """What the report says, as text."""
        return show_reported(self.claim)

    @property
    def reproduced(self) -> str:
        """What we found, as text."""
        return show_found(self.claim, self.found) if self.found else "—"


def _is_of_todays_kind(claim: Claim, stored: dict) -> bool:
    """Whether an earlier run measured under a claim's name what that asks for today: in its unit, or along it."""
    units = {other.unit for other in load_claims().values()} - {""}
    ends = [unit for unit in units if stored.get("text", "").endswith(f" {unit}")]
    unit = stored.get("unit", max(ends, key=len, default=claim.unit))  # older records tell it by their text alone
    along = "points" in stored if claim.points else not stored.get("points")
    return unit == claim.unit and along


def chapter_rows(record: dict, measured_at: Callable[[str], str] = lambda claim_id: "") -> list[Row]:
    """Return the rows of a chapter's own claims: in the order in which it measured them, then those it did not."""
    claims = {key: claim for key, claim in load_claims().items() if claim.notebook == record["notebook"]}
    measured = [key for key in record["measurements"] if key in claims]
    return [Row.of(claims[key], record, measured_at(key)) for key in dict.fromkeys([*measured, *claims])]


def ledger_table(rows: list[Row]) -> str:
    """Return the table reported | reproduced | verdict."""
    return render("table.html.j2", rows=rows)


def settings_table(settings: Iterable[Setting]) -> str:
    """Return the table of where each setting comes from."""
    return render("settings.html.j2", settings=list(settings))


def verdict_lines(record: dict) -> str:
    """Return one line a claim, with its verdict and nothing that changes with rounding."""
    return "\n".join(f"{key:<45} {found['verdict']}" for key, found in record["measurements"].items())


def header(record: dict, question: str, finished: bool = False, about: object = None) -> str:
    """Return the card at the top of a chapter: report, question, profile, device, seeds, time, data.

    Args:
        record, question: of the chapter.
        finished: whether the run is.
        about: what its page in the book tells besides (`reproduce.book.opening.Facts`).
    """
    return render(
        "card.html.j2",
        record=record,
        report=load_reports()[record["report"]],
        question=question,
        sample=Verdict.SAMPLE_DATA,
        data="; ".join(_data_line(provenance) for provenance in record["data"].values()),
        seeds=record["parameters"].get("seeds", 1),
        number_format=_number_format(record),
        took=_took(record) if finished else "running …",
        about=about,
    )


def _number_format(record: dict) -> str:
    """Return in words what a chapter computed in; empty for chapters that cannot choose."""
    if "precision" not in record["parameters"]:
        return ""
    used, native = record["precision"], record["environment"]["native_bfloat16"]
    why = ""
    if record["parameters"]["precision"] == "auto":
        why = "" if used == "bfloat16" else ", as this device does not compute bfloat16 natively"
    elif used == "bfloat16" and not native:
        why = ", as asked for, although this device only emulates it, far more slowly than float32"
    return used + why


def _data_line(provenance: dict) -> str:
    sizes = ", ".join(f"{n:,} {part}" for part, n in provenance.get("sizes", {}).items())
    return f"{provenance['name']}, {provenance['source']}" + (f" ({sizes})" if sizes else "")


def _took(record: dict) -> str:
    """Return in words how long a run took, with what an earlier one had computed for it."""
    earlier = sum(record.get("kept", {}).values())
    whole = _duration(whole_seconds(record))
    return f"{whole}, {_duration(earlier)} of it in an earlier run" if earlier else whole


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.1f} min"


def render(template: str, **values: object) -> str:
    """Return a template of `reproduce/book/templates` filled in; HTML escapes every value by itself."""
    return _templates().get_template(template).render(values)


@cache
def _templates() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "book" / "templates"),
        autoescape=jinja2.select_autoescape(["html.j2", "svg.j2"], default=False),
        undefined=jinja2.StrictUndefined,
    )
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False, "ensure_ascii": False}
    environment.filters["cell"] = cell
    return environment


def cell(text: str) -> str:
    """Return text that may stand in a cell of a Markdown table."""
    return text.replace("|", "\\|").replace("[", "\\[").replace("]", "\\]")
