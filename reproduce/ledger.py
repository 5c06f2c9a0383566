"""The ledger: what each report claims, and what a notebook found for it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Literal, get_args

import yaml

from cifar_utils.errors import LedgerError
from cifar_utils.measure.stats import Summary
from cifar_utils.paths import root

from .evidence import GIVEN, Setting, sources

#: The students' reports, whose claims are counted.
STUDENTS = ("a1", "a3", "nndl", "rdfia", "hw3")

#: Sources of another kind: what the published literature says of a thing that a chapter beyond the reports repeats.
#: Judged by the same rules, and counted apart.
LITERATURE = ("beyond",)

REPORTS = (*STUDENTS, *LITERATURE)

Kind = Literal["measured", "direction", "derivation", "setting"]
Comparison = Literal["equal", "greater", "less"]
KINDS: tuple[str, ...] = get_args(Kind)
COMPARISONS: tuple[str, ...] = get_args(Comparison)

ID = r"[a-z0-9]+(\.[a-z0-9_]+){2,3}"
RELATIVE = r"[0-9]+(\.[0-9]+)? %"


@dataclass(frozen=True)
class Claim:
    """One statement of a report.

    Attributes:
        id: `report.part.question.name` or `report.question.name`.
        where: where it stands in the report.
        says: what the report says there, in our words and with nothing added; a sentence that stands alone.
        kind: `measured` (a number from an experiment), `direction` (an effect's sign or absence),
            `derivation` (follows from definitions) or `setting` (a choice the report states).
        notebook: the notebook that answers it.
        value: what the report says, in `unit`; for a direction, the threshold (0 by default).
        unit: `%` for percent, `points` for differences of percentages, otherwise a word; may be empty.
        comparison: how our value should stand to `value`: `equal`, `greater` or `less`.
        within: how far from `value` still agrees: a number in `unit`, or a share of `value` such as `10 %`.
        because: why this far and no further.
        asks: what we measured for it, where `says` does not tell.
        scale: what the report ran for it, in words; empty where it ran nothing.
        fitted: whether the claim's own number helped to choose the setting that it is compared with.
        points: of a claim along a curve, instead of `value`: what the report says at some places, by place.
        along: what the places of `points` count, such as `epoch`.
        repeats: another claim that speaks of the same thing; their verdicts may not contradict each other.
        source: key in the bibliography of the publication that says it, where its file is of several.
    """

    id: str
    where: str
    says: str
    kind: Kind
    notebook: str
    value: float | None = None
    unit: str = ""
    comparison: Comparison = "equal"
    within: float | str = 0.0
    because: str = ""
    asks: str = ""
    scale: str = ""
    fitted: bool = False
    points: tuple[tuple[float, float], ...] = ()
    along: str = ""
    repeats: str = ""
    source: str = ""

    @property
    def link(self) -> tuple[str, str]:
        """Title and address of the publication that says it; both empty where its file is of one."""
        return sources()[self.source] if self.source else ("", "")

    @property
    def report(self) -> str:
        """The report's short name, such as `a1`."""
        return self.id.split(".")[0]

    @property
    def is_of_literature(self) -> bool:
        """Whether the published literature says it, and none of the students' reports."""
        return self.report in LITERATURE

    @property
    def tolerance(self) -> float:
        """How far from `value` still agrees, in `unit`."""
        return self.tolerance_of(self.value or 0.0)

    def tolerance_of(self, value: float) -> float:
        """Return how far from `value`, one of the report's numbers, still agrees, in `unit`."""
        if isinstance(self.within, str):
            return abs(value) * float(self.within.removesuffix(" %")) / 100
        return self.within

    @property
    def said(self) -> float | None | list:
        """The report's number, or its pairs of place and number, as JSON gives them back."""
        return [list(pair) for pair in self.points] or self.value

    @property
    def can_be_fitted(self) -> bool:
        """Whether it takes an experiment, whose setting could be chosen so that the number comes out."""
        return self.kind in ("measured", "direction")

    def __post_init__(self):
        if isinstance(self.points, Mapping):
            object.__setattr__(self, "points", tuple(self.points.items()))
        for problem in self._problems():
            raise LedgerError(f"Claim {self.id}: {problem}")

    def _problems(self) -> Iterator[str]:
        for each in fields(self):  # first of all, so that what follows may take texts for texts
            value = getattr(self, each.name)
            if each.default is MISSING and not str(value or "").strip():
                yield f"{each.name} is empty"
            if each.type == "str" and not isinstance(value, str):
                yield f"{each.name} is {value!r}; expected text"
        if not re.fullmatch(ID, self.id):
            yield "the id must be report.part.question.name in lower case, such as rdfia.cd.q10.conv1_weights"
        if self.kind not in KINDS:
            yield f"kind is {self.kind!r}; expected one of {', '.join(KINDS)}"
        if self.comparison not in COMPARISONS:
            yield f"comparison is {self.comparison!r}; expected one of {', '.join(COMPARISONS)}"
        if self.says.startswith(("...", "…")):
            yield "says begins with '...'; expected a sentence that stands alone"
        yield from self._problems_of_numbers()
        if self.within and not self.because:
            yield "a tolerance needs its reason; add because"
        if self.because and not self.within:
            yield "because gives the reason of a tolerance, and there is none; add within or leave it out"
        if not isinstance(self.fitted, bool):
            yield f"fitted is {self.fitted!r}; expected true or false"
        if self.fitted and not self.can_be_fitted:
            yield f"a {self.kind} cannot be fitted; it holds or does not"

    def _problems_of_numbers(self) -> Iterator[str]:
        if self.value is not None and not _is_number(self.value):
            yield f"value is {self.value!r}; expected a number (YAML reads 1e-3 as text: write 1.0e-3)"
        relative = isinstance(self.within, str) and re.fullmatch(RELATIVE, self.within)
        if not relative and not (_is_number(self.within) and float(self.within) >= 0):
            yield (
                f"within is {self.within!r}; expected a number of 0 or more, or a share such as '10 %' "
                "(YAML reads 1e-3 as text: write 1.0e-3)"
            )
        if relative and not self.value and not self.points:
            yield f"within is {self.within!r} of a value of 0; give a number in the claim's unit"
        yield from self._problems_of_points()
        if self.kind != "direction" and self.value is None and not self.points:
            yield f"a {self.kind} claim needs the report's value"
        if self.kind == "direction" and self.comparison == "equal" and not self.within:
            yield "a direction 'equal' needs within: how small an effect counts as none"

    def _problems_of_points(self) -> Iterator[str]:
        if bool(self.points) != bool(self.along):
            yield "points and along, which says what their places count, come together"
        if not self.points:
            return
        if not isinstance(self.points, tuple) or not all(map(_is_number, sum(self.points, ()))):
            yield f"points is {self.points!r}; expected numbers by their places, such as {{1: 59.8, 10: 74.0}}"
        elif len(self.points) < 2 or list(self.points) != sorted(self.points):
            yield "points needs two places or more, the first one first"
        if self.kind != "measured" or self.comparison != "equal" or self.value is not None or not self.within:
            yield "a claim with points is a measured one with a tolerance, equal, and has no value beside them"


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


@dataclass(frozen=True)
class Report:
    """A report: its title and course, the claims it makes, and by notebook where each setting comes from."""

    id: str
    title: str
    course: str
    claims: tuple[Claim, ...]
    settings: Mapping[str, tuple[Setting, ...]] = field(default_factory=dict)


# ---- files ----

#: What a report's file and the claims of one notebook consist of, and what of it must be there.
FILE = ("title", "course", "notebooks")
GROUP = ("scale", "settings", "claims")
ENTRY = tuple(f.name for f in fields(Claim) if f.name != "notebook")
NEEDED = tuple(f.name for f in fields(Claim) if f.default is MISSING and f.name != "notebook")


@cache
def load_reports(folder: Path | None = None) -> dict[str, Report]:
    """Return every report of `claims/*.yml`, validated, by short name.

    Raises:
        LedgerError: an unknown or missing field, a duplicate id, a claim in another report's file, a
            file of no known report.
    """
    folder = folder or root() / "claims"
    if strangers := {p.stem for p in folder.glob("*.yml")} - set(REPORTS):
        raise LedgerError(f"{sorted(strangers)[0]}.yml belongs to no report; expected one of {', '.join(REPORTS)}")
    files = [path for path in (folder / f"{name}.yml" for name in REPORTS) if path.exists()]
    reports = {path.stem: _read(path) for path in files}
    known = {claim.id for report in reports.values() for claim in report.claims}
    for claim in (c for report in reports.values() for c in report.claims if c.repeats):
        if claim.repeats not in known or claim.repeats == claim.id:
            raise LedgerError(f"Claim {claim.id} repeats {claim.repeats}, which is no other claim of the ledger")
    return reports


def load_claims() -> dict[str, Claim]:
    """Return every claim of every report by id."""
    return {c.id: c for r in load_reports().values() for c in r.claims}


def _read(path: Path) -> Report:
    """Return the report of one file."""
    raw = _fields(_parse(path), path.name, FILE, FILE)
    claims: dict[str, Claim] = {}
    settings: dict[str, tuple[Setting, ...]] = {}
    for notebook, group in _mapping(raw["notebooks"] or {}, f"{path.name}, notebooks").items():
        group = _fields(group, f"{path.name}, {notebook}", GROUP, ("claims",))
        where = f"Settings of {notebook}"
        entries = [_fields(entry, where, GIVEN, ("what", "value", "from", "where"))
                   for entry in group.get("settings", ())]  # fmt: skip
        settings[notebook] = tuple(Setting.of(notebook, entry) for entry in entries)
        for entry in group["claims"] or ():
            claim = _claim(entry, notebook, group.get("scale", ""), f"number {len(claims) + 1} of {path.name}")
            if claim.id in claims:
                raise LedgerError(f"Claim {claim.id} stands twice in the ledger")
            if claim.report != path.stem:
                raise LedgerError(f"Claim {claim.id} stands in {path.name}; expected {claim.report}.yml")
            claims[claim.id] = claim
    return Report(path.stem, raw["title"], raw["course"], tuple(claims.values()), settings)


def _claim(entry: object, notebook: str, scale: str, label: str) -> Claim:
    """Return the claim of one entry; an experiment's scale is its notebook's where it names no other."""
    if isinstance(entry, dict):
        label = entry.get("id", label)
    entry = _fields(entry, f"Claim {label}", ENTRY, NEEDED)
    usual = scale if entry["kind"] in ("measured", "direction") else ""
    said = entry.get("scale", usual)
    return Claim(**{**entry, "notebook": notebook, "scale": "" if said == "none" else said})


def _fields(raw: object, what: str, known: tuple[str, ...], needed: tuple[str, ...]) -> dict:
    """Return a mapping after a look at its fields."""
    raw = _mapping(raw, what)
    if unknown := [key for key in raw if key not in known]:
        raise LedgerError(f"{what}: unknown field {unknown[0]!r}; expected {', '.join(known)}")
    if missing := [key for key in needed if key not in raw]:
        raise LedgerError(f"{what}: field {missing[0]!r} is missing")
    return raw


def _mapping(raw: object, what: str) -> dict:
    if not isinstance(raw, dict):
        raise LedgerError(f"{what}: found {type(raw).__name__}; expected fields with a colon, such as 'claims:'")
    return raw


#: Ten times as fast where PyYAML was built with libyaml.
_YamlLoader: type = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_YamlLoader):
    """YAML's safe loader, for which the second of two equal keys is an error and not the winner."""

    def construct_mapping(self, node, deep=False):
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} stands twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _parse(path: Path) -> object:
    try:
        return yaml.load(path.read_text(encoding="utf-8"), _Loader) or {}
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else "?"
        raise LedgerError(
            f"{path.name}, line {line}: {error.problem}; expected YAML as in the other claims"
        ) from None


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
        points: along a curve, (place, mean, low, high) where the run reached the place; `value` is None.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 1
    method: str = ""
    full_scale: bool = True
    note: str = ""
    fitted: bool = False
    points: tuple[tuple[float, float | None, float | None, float | None], ...] = ()

    def __post_init__(self):
        if self.value is not None and not math.isfinite(self.value):
            object.__setattr__(self, "value", None)

    @property
    def is_one_of_many(self) -> bool:
        """Whether it is a single seed's, and no exact number, so that nothing tells how far other seeds lie."""
        return self.n == 1 and self.low is None and bool(self.method)

    @classmethod
    def of(
        cls, value: float | Summary | Mapping[float, float | Summary], full_scale: bool = True, note: str = "",
        fitted: bool = False,
    ) -> Measurement:  # fmt: skip
        """Return the measurement for a plain number, a `Summary`, or either by places of a curve."""
        if isinstance(value, Mapping):
            each = {place: cls.of(found) for place, found in sorted(value.items())}
            points = tuple((place, m.value, m.low, m.high) for place, m in each.items())
            some = next(iter(each.values()), cls(None))
            return cls(None, None, None, some.n, some.method, full_scale, note, fitted, points)
        if not isinstance(value, Summary):
            return cls(float(value), full_scale=full_scale, note=note, fitted=fitted)
        low, high = (value.low, value.high) if value.has_interval else (None, None)
        return cls(value.mean, low, high, value.n, value.method, full_scale, note, fitted)
