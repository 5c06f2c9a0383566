"""A table of recipes for a reader: what all arms share, and how each differs."""

from __future__ import annotations

import re
from html import escape
from typing import TYPE_CHECKING

from cifar_utils.train.recipe import Part, Recipe, in_words

if TYPE_CHECKING:
    from .trainings import Runs

#: What a reader calls the fields of a recipe.
NAMES = {
    "data": "data set",
    "batch": "batch size",
    "images": "training images",
    "validation": "images set aside",
    "select": "selection",
    "prepare": "pixels",
    "augment": "augmentation",
    "draw": "batches",
    "clip_norm": "largest gradient norm",
    "start": "starts from",
    "precision": "number format",
}

#: Said only where it is not this.
USUAL = {"draw": "passes", "loss": "cross-entropy", "precision": "auto"}


def shared(recipes: list[Recipe]) -> tuple[dict[str, str], list[dict[str, str]]]:
    """Return what all recipes have in common, in words by field, and what each has besides.

    Where all have the same model, optimizer or other part, its options are told apart in the same way.
    """
    told = [{k: v for k, v in in_words(recipe).items() if USUAL.get(k) != v} for recipe in recipes]
    fields = list(dict.fromkeys(key for each in told for key in each))
    common, own = {}, [{} for _ in recipes]
    for field in fields:
        if len({each.get(field) for each in told}) == 1:
            common[field] = told[0][field]
        elif options := common_options([getattr(recipe, field) for recipe in recipes]):
            common[field] = with_options(recipes[0], field, options)
            for each, recipe in zip(own, recipes, strict=True):
                differing = {k: v for k, v in getattr(recipe, field).options.items() if k not in options}
                each[field] = with_options(recipe, field, differing, name=False) if differing else "—"
        else:
            for each, words in zip(own, told, strict=True):
                each[field] = words.get(field, USUAL.get(field, "none"))
    return common, own


def common_options(values: list) -> dict:
    """Return the options that parts of one name share; nothing for parts of several names, or no parts."""
    if not all(isinstance(value, Part) for value in values) or len({value.name for value in values}) > 1:
        return {}
    first, *rest = (value.options for value in values)
    return {k: v for k, v in first.items() if all(k in other and other[k] == v for other in rest)}


def with_options(recipe: Recipe, field: str, options: dict, name: bool = True) -> str:
    """Return a recipe's part in words, with some of its options; without `name` these alone."""
    part = Part(getattr(recipe, field).name, **options)
    words = in_words(recipe.but(**{field: part}))[field]
    return words if name else words.removeprefix(f"{part.name} (").removesuffix(")")


def table(runs: Runs) -> str:
    """Return the HTML of a chapter's recipes: what they share in a line, and a row for each that differs."""
    common, own = shared(list(runs.arms.values()))
    said = "; ".join(f"<b>{escape(NAMES.get(k, k))}</b> {escape(readable(v))}" for k, v in common.items())
    seeds = f"{len(runs.seeds)} seeds" if len(runs.seeds) > 1 else "1 seed"
    seconds = sum(training.seconds for arm in runs for training in runs[arm])
    count = sum(len(runs[arm]) for arm in runs)
    took = f"{count} training{'s' * (count > 1)}, {duration(seconds)} in all"
    head = "<tr><th>arm</th>" + "".join(f"<th>{escape(NAMES.get(k, k))}</th>" for k in own[0]) + "</tr>"
    rows = "".join(
        f"<tr><th>{escape(arm)}</th>" + "".join(f"<td>{escape(readable(v))}</td>" for v in each.values()) + "</tr>"
        for arm, each in zip(runs, own, strict=True)
    )
    differing = f'<div class="cu-scroll"><table>{head}{rows}</table></div>' if own[0] else ""
    return f'<div class="cu-recipe"><p>{said}; {seeds} ({took}).</p>{differing}</div>'


def readable(said: str) -> str:
    """Return words of a recipe with three digits of numbers that have more than four, such as rates of a grid."""

    def short(found: re.Match) -> str:
        digits = found[0].replace(".", "").lstrip("0")
        return f"{float(found[0]):.3g}" if len(digits) > 4 else found[0]

    return re.sub(r"\d+\.\d+", short, said)


def duration(seconds: float) -> str:
    """Return a time in words, in the unit that it is counted in."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
