"""The page of all trainings: a row each, its curve, and a file of them all for a spreadsheet."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from cifar_utils.paths import root
from cifar_utils.train.recipe import from_canonical, in_words
from cifar_utils.train.records import read_record

from ..recipes import NAMES, duration, readable, shared
from .edition import Edition

#: The name of the file for a spreadsheet, beside the page.
FILE = "trainings.csv"

#: How many points a curve has at most: more cannot be told apart.
POINTS = 60

_SETS = {"running": "training batches", "train": "training images", "val": "held-out images", "test": "test images"}


@dataclass(frozen=True)
class TrainingRow:
    """One training for a reader.

    Attributes:
        record: what is stored of it.
        chapters: names of the chapters that use it.
    """

    record: dict
    chapters: tuple[str, ...]

    @cached_property
    def recipe(self) -> str:
        """What was trained, in words."""
        (common, _) = shared([from_canonical(self.record["recipe"])])
        return "; ".join(f"{NAMES.get(field, field)} {readable(words)}" for field, words in common.items())

    @property
    def length(self) -> str:
        """How long, in epochs or in steps, as the recipe says it."""
        history = self.record["history"]
        told = len(history["train_loss"])  # one number where a library's own loop tells its last loss alone
        if (epochs := self.record["recipe"].get("epochs")) and (told > 1 or epochs == 1):
            count, what = told, "epoch"
        else:
            count, what = history["iterations"], "step"
        return f"{count:,} {what}{'s' * (count != 1)}"

    @property
    def took(self) -> str:
        """How long by the clock, in words."""
        return duration(self.record["history"]["seconds"])

    @cached_property
    def accuracies(self) -> dict[str, float]:
        """The final accuracies in percent, by set; the last of the curve where none was measured at the end."""
        evaluations = self.record["history"]["evaluations"]
        ends = {name: (found["accuracy"] or [None])[-1] for name, found in evaluations.items()}
        ends |= {name: found.get("accuracy") for name, found in self.record["final"].items()}
        return {name: 100 * end for name in _SETS if (end := ends.get(name)) is not None}

    @cached_property
    def curve(self) -> dict:
        """What was measured after each epoch, by set: accuracy in percent, or the loss where there is none."""
        history = self.record["history"]
        for what, scale, unit in (("accuracy", 100, "%"), ("loss", 1, "")):
            lines = {"running": history[f"train_{what}"]}
            lines |= {name: found[what] for name, found in history["evaluations"].items()}
            drawn = {_SETS[name]: _thinned(values, scale) for name, values in lines.items() if _is_curve(values)}
            if drawn:
                return {"what": what, "unit": unit, "epochs": len(history["train_loss"]), "lines": drawn}
        return {}


def _is_curve(values: list) -> bool:
    """Whether a line says anything: one that stays where it was is that of what has no accuracy, such as triplets."""
    return len({value for value in values if value is not None}) > 1


def _thinned(values: list, scale: float) -> list:
    """Return at most so many values as can be told apart, with the first and the last."""
    step = max(1, -(-(len(values) - 1) // (POINTS - 1)))
    at = [*range(0, len(values) - 1, step), len(values) - 1]
    return [[place + 1, None if values[place] is None else float(f"{scale * values[place]:.4g}")] for place in at]


def rows(edition: Edition) -> list[TrainingRow]:
    """Return the trainings of an edition's chapters, in the chapters' order."""
    users: dict[str, list[str]] = {}
    for name, record in edition.records.items():
        for key in record.get("trainings", {}):
            users.setdefault(key, []).append(name)
    found = ((read_record(path(edition, key)), tuple(names)) for key, names in users.items())
    each = [TrainingRow(record, names) for record, names in found if record]
    return sorted(each, key=lambda row: (row.chapters, row.recipe, row.record["seed"]))


def path(edition: Edition, key: str) -> Path:
    """Return where the record of a training lies: committed, or in the store for a book of one's own runs."""
    store = root() / "runs" / "trainings" / key / "record.json"
    return store if edition.profile else root() / "results" / "trainings" / f"{key}.json"


def summary(each: Iterable[TrainingRow]) -> str:
    """Return in a sentence how much was trained."""
    each = list(each)
    hours = duration(sum(row.record["history"]["seconds"] for row in each))
    recipes = len({row.recipe for row in each})
    middle = duration(statistics.median(row.record["history"]["seconds"] for row in each))
    return f"{len(each):,} trainings of {recipes:,} recipes, {hours} in all, {middle} the middle one."


def as_csv(each: Iterable[TrainingRow]) -> str:
    """Return a table of all trainings with every field of their recipes, for a spreadsheet."""
    told = [(row, in_words(from_canonical(row.record["recipe"]))) for row in each]
    fields = list(dict.fromkeys(field for _, words in told for field in words))
    measured = [f"{name}_{what}" for name in ("train", "val", "test") for what in ("loss", "accuracy")]
    about = ["device", "threads", "torch", "commit"]
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(["key", "chapters", *fields, "seed", *measured, "iterations", "seconds", "operations", "precision",
                    "started", *about])  # fmt: skip
    for row, words in told:
        record, history, env = row.record, row.record["history"], row.record["environment"]
        final = [record["final"].get(which, {}).get(what) for which, _, what in (m.partition("_") for m in measured)]
        table.writerow([record["key"], " ".join(row.chapters), *(words.get(field, "") for field in fields),
                        record["seed"], *final, history["iterations"], history["seconds"], record["operations"],
                        record["precision"], record["started"], *(env[key] for key in about)])  # fmt: skip
    return out.getvalue()
