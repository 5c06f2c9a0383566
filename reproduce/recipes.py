"""A table of recipes for a reader: what all arms share, and how each differs."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from cifar_utils.train.recipe import Recipe, in_words

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
    """Return what all recipes have in common, in words by field, and what each has besides."""
    told = [{k: v for k, v in in_words(recipe).items() if USUAL.get(k) != v} for recipe in recipes]
    fields = list(dict.fromkeys(key for each in told for key in each))
    common = [key for key in fields if len({each.get(key) for each in told}) == 1]
    return (
        {key: told[0][key] for key in common},
        [{key: each.get(key, "none") for key in fields if key not in common} for each in told],
    )


def table(runs: Runs) -> str:
    """Return the HTML of a chapter's recipes: what they share in a line, and a row for each that differs."""
    common, own = shared(list(runs.arms.values()))
    said = "; ".join(f"<b>{escape(NAMES.get(k, k))}</b> {escape(v)}" for k, v in common.items())
    seeds = f"{len(runs.seeds)} seeds" if len(runs.seeds) > 1 else "1 seed"
    seconds = sum(training.seconds for arm in runs for training in runs[arm])
    count = sum(len(runs[arm]) for arm in runs)
    took = f"{count} training{'s' * (count > 1)}, {duration(seconds)} in all"
    head = "<tr><th>arm</th>" + "".join(f"<th>{escape(NAMES.get(k, k))}</th>" for k in own[0]) + "</tr>"
    rows = "".join(
        f"<tr><th>{escape(arm)}</th>" + "".join(f"<td>{escape(v)}</td>" for v in each.values()) + "</tr>"
        for arm, each in zip(runs, own, strict=True)
    )
    differing = f"<table>{head}{rows}</table>" if own[0] else ""
    return f'<div class="cu-recipe"><p>{said}; {seeds} ({took}).</p>{differing}</div>'


def duration(seconds: float) -> str:
    """Return a time in words, in the unit that it is counted in."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
