"""What every notebook does around its experiment: check parameters, show a card, report, conclude."""

from __future__ import annotations

import ast
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, TypeVar

from IPython.display import display

from cifar_utils import environment, operations
from cifar_utils.data import sets as data_module
from cifar_utils.device import autocast_dtype, float64_device, pick_device
from cifar_utils.errors import LedgerError, ParameterError
from cifar_utils.measure import plots, words
from cifar_utils.measure.stats import Summary
from cifar_utils.train import Recipe, Training

from . import cards, generators, kept, params, trainings, vectors
from .ledger import Claim, Measurement, load_claims, load_reports
from .record import RECORD_MIME, SETTINGS_MIME, code_fingerprint
from .scale import Scale
from .show import show_found
from .source import source as source  # chapter.source(Dropout) shows the library's code
from .trainings import Runs
from .verdict import judge

Value = TypeVar("Value")


def start(name: str, namespace: dict, question: str, scale: Mapping[str, object] | None = None) -> Chapter:
    """Begin a chapter: check its parameters, set the house style, show the header card.

    Args:
        name: the notebook's name, such as `a1_q1_softmax_regression`.
        namespace: the notebook's `globals()`; its parameters are checked by name and type, and
            replaced by their converted values.
        question: what the chapter answers, for the card.
        scale: the report's own numbers, such as `dict(images=45_000, epochs=20)`, for `Chapter.scale`.

    Raises:
        ParameterError: papermill was given a parameter that the notebook does not declare, or one has a wrong
            type or a value outside its declared range.
    """
    allowed = params.declared(name)
    params.known(_injected(namespace.get("In", [])), allowed)
    if missing := [key for key in allowed if key not in namespace]:
        raise ParameterError(f"Parameter {missing[0]} has no value yet; run the notebook's parameters cell first.")
    values = params.check({key: namespace[key] for key in allowed}, allowed)
    namespace.update(values)
    return Chapter(name, values, question, scale or {}, namespace.get("In", ()))


def _injected(cells: Sequence[str]) -> list[str]:
    """Return the names that papermill's own cell sets, the last of IPython's `In` that it wrote; also misspelt ones.

    Other globals may be anything: in JupyterLab this cell runs again after all the others.
    """
    written = [cell for cell in cells if cell.split("\n", 1)[0] == "# Parameters"]
    nodes = ast.parse(written[-1]).body if written else []
    targets = [target for node in nodes if isinstance(node, ast.Assign) for target in node.targets]
    return [target.id for target in targets if isinstance(target, ast.Name)]


class Chapter:
    """One run of one notebook: its parameters, its measurements and its record.

    Attributes:
        name: the notebook's name.
        params: checked parameters, by name; `profile`, `data`, `device` and `seeds` are in every notebook.
        device: `torch.device` that the run uses; the CPU instead of an Apple GPU, which has no float64, in
            chapters without a parameter `precision`.
        autocast: what its parameter `precision` means there: `torch.bfloat16`, or None for float32.
        full_scale: whether measurements count at the report's scale, as `scale` says.
        report_scale: the report's own numbers, by name.
    """

    def __init__(
        self, name: str, values: dict, question: str, scale: Mapping[str, object], executed: Sequence[str] = ()
    ):  # fmt: skip
        self.name, self.params, self.question, self.report_scale = name, values, question, dict(scale)
        if values["profile"] not in params.PROFILES:
            raise ParameterError(f"profile is {values['profile']!r}; expected one of {params.PROFILES}.")
        self.device = pick_device(values["device"])
        if "precision" not in values:  # chapters whose arithmetic is float64, or too small to gain from a GPU
            self.device = float64_device(self.device)
        self.autocast = autocast_dtype(values.get("precision", "float32"), self.device)
        self.report_id = name.split("_")[0]
        self.full_scale, self._scale = True, None  # the scale is None outside of any block
        self._scales: dict[str, str] = {}
        self._code, self._environment = code_fingerprint(name), environment.describe(self.device)
        self._claims = {k: c for k, c in load_claims().items() if c.notebook == name}
        self._found: dict[str, Measurement] = {}
        self._numbers: dict[str, str] = {}
        self._data: dict = {}
        self._trainings: dict[str, float] = {}  # key to seconds
        self._trained: dict[str, list] = {}  # key to what tells one training of it from another
        self._shelf = kept.Shelf(name, self.device, self.is_sample, executed)
        self._printed: dict[str, float | None | list] = {}  # numbers of the report that the experiment itself uses
        self._checks: dict[str, bool] = {}  # sentences of the page, and whether this run bears them out
        self._started, self._operations = time.perf_counter(), operations.total()
        self._when = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
        generators.begin()
        plots.use_house_style()
        plots.show = vectors.show
        plots.stamp("sample data" if self.is_sample else "")
        self._card: Any = display(cards.Html(cards.header(self.record(), question)), display_id=True)

    @property
    def number_format(self) -> str:
        """What networks compute in, `float32` or `bfloat16`; sums and weights are float32 in both."""
        return "float32" if self.autocast is None else "bfloat16"

    @property
    def is_sample(self) -> bool:
        """Whether this run uses the embedded sample data."""
        return self.params["data"] == "sample"

    def load(self, dataset: str, **options) -> data_module.Dataset:
        """Return `cifar_utils.data.load(dataset)` on the chapter's device, and note its provenance."""
        found = data_module.load(dataset, data=self.params["data"], device=self.device, **options)
        # one set may be loaded twice, the second time only a part of it: both belong in the record
        first = self._data.setdefault(dataset, found.provenance)
        if first["sizes"] != found.provenance["sizes"]:
            self._data[f"{dataset}, {len(found.train)} training images"] = found.provenance
        return found

    def train(
        self,
        arms: Recipe | Mapping[str, Recipe],
        seeds: int | Sequence[int] = 1,
        *,
        weights: bool = False,
        scores: bool = False,
        measures: Sequence[str] = (),
        show: bool = True,
    ) -> Runs:
        """Return trainings of one recipe or of several by name, for each seed; show what was trained as a table.

        What is in the store is taken from there, the rest is trained now and kept. On a chapter's sample data, and in
        its number format, whatever the recipes say. Cells that call this are tagged `recipes` and hold nothing else,
        so that the queue can read them without running the notebook.

        Args:
            arms: what to train.
            seeds: a number n for the seeds 0 to n - 1, or the seeds.
            weights, scores: whether networks and scores, or scores alone, are needed besides what was measured.
            measures: what is measured on each network, by names of `train.measures`, and kept in its record.
            show: the table.

        Raises:
            ParameterError: a recipe names something that is not there.
            RunError: the disk is full.
        """
        return trainings.for_chapter(self, arms, seeds, trainings.Needs(weights, scores, tuple(measures)), show)

    def note_training(self, training: Training) -> None:
        """Note a training, and the data that it was made from, for the record."""
        record = training.record
        self._trainings[record["key"]] = round(training.seconds, 1)
        self._trained[record["key"]] = [record.get("code"), record.get("started"), record.get("environment")]
        found = record["data"]
        label, sizes = found["name"], found["sizes"]
        if self._data.setdefault(label, found)["sizes"] != sizes:
            self._data[f"{label}, {sizes['train']} training images"] = found

    def keep(self, name: str, compute: Callable[[], Value]) -> Value:
        """Return what `compute` returns: taken from `runs/kept` where an earlier run left it, else computed and kept.

        Taken or computed, what comes after is the same: global random states go on from where the computation left
        them, and its operations count. It is taken where code (all of the chapter's), parameters, trainings so far,
        device, threads, versions and the states that it draws from are the same; on sample data, and where an editor
        ran cells changed or out of order, never. What it prints, draws or changes elsewhere is not kept.

        Args:
            name: another one for each result, such as `maps`.
            compute: takes nothing, and notes nothing (`run.report`, `run.train`, ...); returns numbers, arrays,
                tensors, or lists and dicts of them, some 200 MB at most.

        Raises:
            ParameterError: the name is taken or no identifier, `compute` notes something, or the value has a part
                that cannot be stored, such as a lambda.
        """
        where = {key: value for key, value in self._environment.items() if key != "commit"}
        decides = {
            "code": code_fingerprint(self.name), "parameters": self.params, "environment": where,
            "precision": self.number_format, "trainings": self._trained, "printed": self._printed,
        }  # fmt: skip
        return self._shelf.get(name, kept.noting_nothing(self, name, compute), decides)

    def uses(self, provenance: dict) -> None:
        """Note what else was read from files, such as a network's weights; nothing for an empty `provenance`."""
        if provenance:
            self._data[provenance["name"]] = provenance

    def scale(self, of: Mapping[str, object] | None = None, **here: object) -> Scale:
        """Say how large an experiment is: `with run.scale(images=len(train), epochs=epochs):`.

        Measurements and figures in the block count as the report's only where every number is at least the
        report's; otherwise figures are stamped, and the measurements earn no verdict. Entered with nothing, the
        report's size does not matter, as for a check of a formula. The same scale may be entered in many cells.

        Args:
            of: the report's numbers, where this experiment has others than the chapter.
            here: this run's numbers, by the names of the report's.

        Raises:
            ParameterError: of something here, the report's number is not declared.
        """
        return Scale(self, here, {**self.report_scale, **(of or {})})

    def printed(self, *claims: str) -> list[float | None]:
        """Return the report's own numbers for claims, as the ledger has them: to compare with, or to search by.

        Raises:
            LedgerError: the ledger has no such claim for this notebook.
        """
        found = {claim: self._claim(claim).value for claim in claims}
        self._printed |= found
        return list(found.values())

    def points(self, claim: str) -> dict[float, float]:
        """Return the report's points of a claim along a curve, by their places: to draw, and to measure there.

        Raises:
            LedgerError: the ledger has no such claim for this notebook, or it has a single number.
        """
        if not self._claim(claim).points:
            raise LedgerError(f"{claim} has no points in the ledger.")
        self._printed[claim] = self._claim(claim).said
        return dict(self._claim(claim).points)

    def settings(self) -> None:
        """Show where each setting of the report's experiments comes from, as the ledger has it."""
        html = cards.settings_table(load_reports()[self.report_id].settings.get(self.name, ()))
        display({"text/html": html, "text/plain": "Settings", SETTINGS_MIME: {}}, raw=True)

    def check(self, sentence: str, holds: object) -> None:
        """Stand behind a sentence of the page: a run on real data that contradicts it says so, and is not published.

        Args:
            sentence: what the page says, in words.
            holds: whether this run bears it out.
        """
        self._checks[sentence] = bool(holds)
        if not holds and not self.is_sample:
            display(cards.Html(cards.render("contradicted.html.j2", sentence=sentence), f"Contradicted: {sentence}"))

    def enter(self, scale: Scale) -> tuple:
        """Begin a block of `scale`; return what `leave` needs."""
        stamp = "sample data" if self.is_sample else scale.stamp
        before = (self.full_scale, self._scale, plots.stamp(stamp))
        self.full_scale, self._scale = scale.is_full, scale.words
        return before

    def leave(self, before: tuple) -> None:
        """End a block."""
        self.full_scale, self._scale, stamp = before
        plots.stamp(stamp)

    def report(
        self, claim: str | Mapping[str, Any], value: float | Summary | Mapping[float, float | Summary] | None = None,
        note: str | Mapping[str, str] = "", fitted: bool = False,
    ) -> None:  # fmt: skip
        """Report what was found for a claim, in the claim's unit; the text is glued under the id.

        Args:
            claim: a claim of this notebook; or several with their values, `{"a1.q1.loss": loss, "a1.q1.accuracy":
                (accuracy, "three seeds")}`, ids whole so that a text search finds them.
            value: what was found; along a curve by place, the places that this run reached.
            note: one sentence for the table; of several claims, for those that have none of their own, or by claim.
            fitted: whether the report's number helped to choose the setting that `value` was measured with.

        Raises:
            LedgerError: the ledger has no such claim for this notebook, nothing could be fitted to it, or an
                experiment is reported whose scale nobody said, in a chapter that declares the report's.
        """
        several: Mapping[str, Any] = claim if isinstance(claim, Mapping) else {claim: (value, note)}
        for key, found in several.items():
            shared = note if isinstance(note, str) else note.get(key, "")
            measured, why = found if isinstance(found, tuple) else (found, shared)
            self._report(key, measured, why, fitted)

    def _claim(self, claim_id: str) -> Claim:
        if claim_id not in self._claims:
            raise LedgerError(
                f"{claim_id} is not a claim of notebook {self.name}; add it to claims/{self.report_id}.yml "
                f"or use one of {', '.join(self._claims) or 'none yet'}."
            )
        return self._claims[claim_id]

    def _report(self, claim_id: str, value, note: str, fitted: bool) -> None:
        claim = self._claim(claim_id)
        if isinstance(value, Mapping) != bool(claim.points):
            expected = f"values by {claim.along}" if claim.points else "one value"
            raise LedgerError(f"{claim_id} was reported as {type(value).__name__}; expected {expected}.")
        if fitted and not claim.can_be_fitted:
            raise LedgerError(f"{claim_id} is a {claim.kind}, which holds or does not; only experiments are fitted.")
        if self.report_scale and self._scale is None and claim.can_be_fitted:
            raise LedgerError(
                f"{claim_id} is an experiment's, and was reported outside of any scale; report it inside "
                f"`with run.scale({', '.join(f'{name}=...' for name in self.report_scale)}):`, or inside "
                "`with run.scale():` if the report's size does not matter for it."
            )
        found = Measurement.of(value, self.full_scale, note, fitted)
        self._found[claim_id], self._scales[claim_id] = found, self._scale or ""
        self.glue(claim_id, show_found(claim, found))
        self.glue(f"{claim_id}.verdict", judge(claim, found, self.is_sample))

    def glue(self, *spec: object, **values: object) -> None:
        """Make values available to prose by the role `glue:text`, and keep their texts in the record.

        `run.glue("+.1f points", gain=gain, loss=loss)` says digits and unit once, as `cifar_utils.measure.words`
        describes; `run.glue(images=len(train), gain=(gain, "points"), best="Adam")` takes numbers as they come,
        each with a spec of its own where it needs one. `run.glue("a name", value)` is for names that are no
        identifiers. Parameters glue themselves at the end, unless the chapter has a text for the same name.

        Args:
            spec: how the values are written.
            values: a `Summary`, a number, a list of them or a text, by name.
        """
        how = ""
        if len(spec) == 2 and not values:
            values = {str(spec[0]): spec[1]}
        elif len(spec) == 1 and values and isinstance(spec[0], str):
            how = spec[0]
        elif spec or not values:
            raise ParameterError(f"run.glue was given {spec!r}; expected values by name, behind one spec or none.")
        for name, value in values.items():
            if isinstance(value, tuple) and [isinstance(part, str) for part in value] == [False, True]:
                self._glue(name, words.text(*value))
            else:
                self._glue(name, words.text(value, how))

    def _glue(self, name: str, text: str) -> None:
        self._numbers[name] = text
        prefix = "application/papermill.record/"  # what myst-nb looks for; the reader sees nothing here
        display(
            {f"{prefix}text/plain": repr(text)},
            metadata={"scrapbook": {"name": name, "mime_prefix": prefix}},
            raw=True,
        )

    def record(self) -> dict:
        """Return everything that is stored beside this run's numbers, JSON-ready."""
        measurements = {
            key: {
                **asdict(found),
                "verdict": judge(self._claims[key], found, self.is_sample),
                "text": show_found(self._claims[key], found),
                "unit": self._claims[key].unit,
                "scale": self._scales[key],
            }
            for key, found in self._found.items()
        }
        return {
            "notebook": self.name,
            "question": self.question,
            "report": self.report_id,
            "profile": self.params["profile"],
            "parameters": self.params,
            "scale": self.report_scale,
            "sample": self.is_sample,
            "precision": self.number_format,
            "environment": self._environment,
            "data": self._data,
            "code": self._code,
            "trainings": self._trainings,
            "kept": self._shelf.taken,  # seconds that an earlier run spent, by result
            "printed": self._printed,
            "checks": self._checks,
            "operations": operations.total() - self._operations,
            "started": self._when,
            "duration_s": round(time.perf_counter() - self._started, 1),
            "measurements": measurements,
            "numbers": self._numbers,
        }

    def verdicts(self) -> str:
        """Return one line a claim, with its verdict and nothing that changes with rounding: for nbval."""
        return cards.verdict_lines(self.record())

    def finish(self) -> None:
        """Glue the parameters, show the ledger table, complete the card, and leave the record in the notebook.

        Raises:
            LedgerError: a claim of this notebook was not reported.
        """
        if missing := set(self._claims) - set(self._found):
            raise LedgerError(f"{self.name} did not report {', '.join(sorted(missing))}.")
        for name, value in self.params.items():
            if name not in self._numbers:  # a chapter's own text wins, and myst-nb wants each name once
                self._glue(name, words.parameter(value))
        record = self.record()
        self._card.update(cards.Html(cards.header(record, self.question, finished=True)))
        table = cards.ledger_table(cards.chapter_rows(record))
        display({"text/html": table, "text/plain": self.verdicts(), RECORD_MIME: record}, raw=True)
