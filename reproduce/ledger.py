"""The ledger: what each report claims, and what a notebook found for it."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path

import yaml

from cifar_utils.errors import LedgerError
from cifar_utils.measure.stats import Summary
from cifar_utils.paths import root

#: Ten times as fast where PyYAML was built with libyaml.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

REPORTS = ("a1", "a3", "nndl", "rdfia", "hw3")
KINDS = ("measured", "direction", "derivation", "setting")
COMPARISONS = ("equal", "greater", "less")

_ID = re.compile(r"[a-z0-9]+(\.[a-z0-9_]+){2,3}")


@dataclass(frozen=True)
class Claim:
    """One statement of a report.

    Attributes:
        id: `report.part.question.name` or `report.question.name`.
        where: where it stands in the report.
        says: the statement, in our words.
        kind: `measured` (a number from an experiment), `direction` (an effect's sign or absence),
            `derivation` (follows from definitions) or `setting` (a choice the report states).
        notebook: the notebook that answers it.
        value: what the report says, in `unit`; for a direction, the threshold (0 by default).
        unit: `%` for percent, `points` for differences of percentages, otherwise a word; may be empty.
        tolerance: how far from `value` still agrees, in `unit`.
        comparison: how our value should stand to `value`: `equal`, `greater` or `less`.
        fitted: whether the claim's own number helped to choose the setting that it is compared with.
    """

    id: str
    where: str
    says: str
    kind: str
    notebook: str
    value: float | None = None
    unit: str = ""
    tolerance: float = 0.0
    comparison: str = "equal"
    fitted: bool = False

    @property
    def can_be_fitted(self) -> bool:
        """Whether it takes an experiment, whose setting could be chosen so that the number comes out."""
        return self.kind in ("measured", "direction")

    @property
    def report(self) -> str:
        """The report's short name, such as `a1`."""
        return self.id.split(".")[0]

    def __post_init__(self):
        def refuse(why: str):
            raise LedgerError(f"Claim {self.id}: {why}")

        if not _ID.fullmatch(self.id):
            refuse("the id must be report.part.question.name in lower case, such as rdfia.cd.q10.conv1_weights")
        if self.kind not in KINDS:
            refuse(f"kind is {self.kind!r}; expected one of {', '.join(KINDS)}")
        if self.comparison not in COMPARISONS:
            refuse(f"comparison is {self.comparison!r}; expected one of {', '.join(COMPARISONS)}")
        for name, number in (("value", self.value or 0), ("tolerance", self.tolerance)):
            if isinstance(number, bool) or not isinstance(number, (int, float)):
                refuse(f"{name} is {number!r}; expected a number (YAML reads 1e-3 as text: write 1.0e-3)")
        if self.tolerance < 0:
            refuse(f"tolerance is {self.tolerance}; expected 0 or more")
        if self.kind != "direction" and self.value is None:
            refuse(f"a {self.kind} claim needs the report's value")
        if self.kind == "direction" and self.comparison == "equal" and not self.tolerance:
            refuse("a direction 'equal' needs a tolerance: how small an effect counts as none")
        if self.fitted and not self.can_be_fitted:
            refuse(f"a {self.kind} cannot be fitted; it holds or does not")
        for name in ("where", "says", "notebook"):
            if not str(getattr(self, name) or "").strip():
                refuse(f"{name} is empty")


@dataclass(frozen=True)
class Report:
    """A report: its title and course, and the claims it makes."""

    id: str
    title: str
    course: str
    claims: tuple[Claim, ...]


@cache
def load_reports(folder: Path | None = None) -> dict[str, Report]:
    """Return every report of `claims/*.yml`, validated, by short name.

    Raises:
        LedgerError: an unknown or missing field, a duplicate id, a claim in another report's file, a
            file of no known report.
    """
    folder = folder or root() / "claims"
    known = {f.name for f in fields(Claim)}
    reports, seen = {}, set()
    if strangers := {p.stem for p in folder.glob("*.yml")} - set(REPORTS):
        raise LedgerError(f"{sorted(strangers)[0]}.yml belongs to no report; expected one of {', '.join(REPORTS)}")
    for path in (folder / f"{name}.yml" for name in REPORTS):
        if not path.exists():
            continue
        raw = yaml.load(path.read_text(encoding="utf-8"), _LOADER) or {}
        if missing := {"title", "course", "claims"} - set(raw):
            raise LedgerError(f"{path.name}: {sorted(missing)[0]!r} is missing")
        claims = []
        for entry in raw["claims"] or []:
            label = entry.get("id", f"number {len(claims) + 1} of {path.name}")
            if unknown := set(entry) - known:
                raise LedgerError(f"Claim {label}: unknown field {sorted(unknown)[0]!r}; expected {sorted(known)}")
            if missing := {"id", "where", "says", "kind", "notebook"} - set(entry):
                raise LedgerError(f"Claim {label}: field {sorted(missing)[0]!r} is missing")
            claim = Claim(**entry)
            if claim.id in seen:
                raise LedgerError(f"Claim {claim.id} stands twice in the ledger")
            if claim.report != path.stem:
                raise LedgerError(f"Claim {claim.id} stands in {path.name}; expected {claim.report}.yml")
            seen.add(claim.id)
            claims.append(claim)
        reports[path.stem] = Report(path.stem, raw["title"], raw["course"], tuple(claims))
    return reports


def load_claims() -> dict[str, Claim]:
    """Return every claim of every report by id."""
    return {c.id: c for r in load_reports().values() for c in r.claims}


@dataclass(frozen=True)
class Measurement:
    """What a notebook found for one claim, in the claim's unit.

    Attributes:
        value: the mean, or the exact value; None where the run diverged (JSON knows no NaN).
        low, high: 95 % interval, or None.
        n: how many values the mean is over.
        method: how the interval came about.
        full_scale: whether the run was as large as the report's.
        note: one sentence for the table.
        fitted: whether the report's number helped to choose the setting that this was measured with.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 1
    method: str = ""
    full_scale: bool = True
    note: str = ""
    fitted: bool = False

    def __post_init__(self):
        if self.value is not None and not math.isfinite(self.value):
            object.__setattr__(self, "value", None)

    @classmethod
    def of(cls, value: float | Summary, full_scale: bool = True, note: str = "", fitted: bool = False) -> Measurement:
        """Return the measurement for a plain number or a `Summary`."""
        if not isinstance(value, Summary):
            return cls(float(value), full_scale=full_scale, note=note, fitted=fitted)
        low, high = (value.low, value.high) if value.has_interval else (None, None)
        return cls(value.mean, low, high, value.n, value.method, full_scale, note, fitted)


_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def show(value: float | None, unit: str = "", like: float | None = None) -> str:
    """Return a number as a person would write it: thousands apart, three significant digits, unit.

    Args:
        value: the number; None gives a dash.
        unit: `%` or a word, put behind the number.
        like: write as many decimals as this number would get, such as an interval's bound like its mean.
    """
    if value is None:
        return "—"
    if not math.isfinite(value):
        return "diverged"
    like = value if like is None or not math.isfinite(like) else like
    if unit in ("%", "points"):
        text = f"{value:.{2 if 0 < abs(like) < 1 else 1}f}"
    elif like == int(like) and value == int(value) and abs(value) < 1e15:
        text = f"{int(value):,}"
    elif 0 < abs(like) < 1e-3:
        mantissa, exponent = f"{value:.1e}".split("e")
        text = f"{mantissa}·10{str(int(exponent)).translate(_SUPERSCRIPT)}"
    else:
        decimals = max(0, 2 - math.floor(math.log10(abs(like)))) if like else 2
        text = f"{value:,.{min(decimals, 4)}f}"
    text = text.replace("-", "−")
    return f"{text} {unit}".strip()


def show_reported(claim: Claim) -> str:
    """Return what the report says as text for a table."""
    sign = {"greater": "more than ", "less": "less than ", "equal": ""}[claim.comparison]
    if claim.kind == "direction" and claim.comparison == "equal":
        return f"no effect (±{show(claim.tolerance, claim.unit)})"
    return sign + show(claim.value or 0.0, claim.unit)


def show_found(claim: Claim, found: dict | Measurement) -> str:
    """Return a measurement as text for a table: value, and interval where there is one."""
    m = found if isinstance(found, Measurement) else Measurement(**found)
    if m.value is None:
        return "diverged"
    if m.low is None:
        return show(m.value, claim.unit)
    value, low, high = (show(v, claim.unit, like=m.value).removesuffix(claim.unit).strip() for v in
                        (m.value, m.low, m.high))  # fmt: skip
    return f"{value} [{low}, {high}] {claim.unit}".strip()
