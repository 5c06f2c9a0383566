"""One training, from a recipe and a seed to a network and everything that was measured on the way."""

from __future__ import annotations

import ast
import inspect
import json
import re
import sys
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from .. import fingerprint
from ..data import Batches, Dataset, Split, load
from ..device import autocast_dtype
from ..errors import ParameterError
from ..flops import grouped_convolutions
from . import parts
from .loop import History, evaluate, fit, seed_everything
from .recipe import Part, Recipe

if TYPE_CHECKING:
    from .records import Training

#: Steps whose losses every training keeps, so that later code can be compared with the code that trained it.
FIRST_STEPS = 8


@dataclass
class Trained:
    """What a training leaves.

    Attributes:
        model: the network, on its device, in evaluation mode; None from loops that give `arrays`, or no weights.
        history: of the whole training.
        final: by set, `{"loss": ..., "accuracy": ...}` in evaluation mode, accuracy in 0..1.
        scores: by set (`val`, `test`), float16 (N, classes), in the set's order, on the CPU.
        arrays: weights by name, from loops that keep them in NumPy.
        extra: what else was measured, JSON-ready: a list by name, with one entry an epoch.
    """

    model: nn.Module | None
    history: History
    final: dict[str, dict[str, float]]
    scores: dict[str, torch.Tensor] = field(default_factory=dict)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    extra: dict[str, list] = field(default_factory=dict)


def train(recipe: Recipe, seed: int, device: torch.device, **options) -> Trained:
    """Train one network; see `train_many`."""
    return train_many([(recipe, seed)], device, **options)[0]


def train_many(
    pairs: Sequence[tuple[Recipe, int]],
    device: torch.device,
    *,
    checkpoint: Path | None = None,
    progress: str | None = None,
    weights: Callable[[Recipe, int], Training] | None = None,
    steps: int | None = None,
) -> list[Trained]:
    """Train networks that may be trained at once (`together`), each as it would be alone.

    Args:
        pairs: recipe and seed of each; the seed is that of weights, order and random changes.
        device: where.
        checkpoint: as for `fit`.
        progress: as for `fit`.
        weights: returns the training of another recipe with its weights, for recipes that start from one.
        steps: stop after so many steps, without an evaluation: to compare a beginning.

    Raises:
        ParameterError: a recipe names something that is not there, or asks for what its loop does not do.
        DataError: the data set is missing or damaged.
        RunError: the checkpoint cannot be written.
    """
    loop, options = parts.find("loop", pairs[0][0].loop), pairs[0][0].loop.options
    for recipe, _ in pairs:
        _check_fields(recipe, loop)
    given = {"checkpoint": checkpoint, "progress": progress, "weights": weights, "steps": steps, **options}
    with grouped_convolutions():
        if getattr(loop, "many", False):
            return loop(list(pairs), device, **given)
        return [loop(recipe, seed, device, **given) for recipe, seed in pairs]


def _check_fields(recipe: Recipe, loop: Callable) -> None:
    """Refuse a recipe that says something which its loop would not do."""
    if not (knows := getattr(loop, "knows", None)):
        return
    for f in fields(recipe):
        if f.name not in knows and f.name not in EVERY_LOOP and getattr(recipe, f.name) != f.default:
            raise ParameterError(
                f"The loop {recipe.loop.name!r} has no {f.name}, which a recipe gives as {getattr(recipe, f.name)}; "
                "leave it out, or train with the loop 'torch'."
            )


#: Fields of a recipe that every loop knows.
EVERY_LOOP = ("data", "model", "optimizer", "batch", "epochs", "images", "validation", "select", "prepare", "loop",
              "evaluate", "final", "sample")  # fmt: skip


def together(pairs: Sequence[tuple[Recipe, int]]) -> list[list[tuple[Recipe, int]]]:
    """Return trainings in groups that their loop can train at once: alike but for what it says it can vary.

    Of no more than it takes at most, so that little is lost when a run is killed; those that others start from come
    before these.
    """
    groups: dict[str, list[tuple[Recipe, int]]] = {}
    most: dict[str, int] = {}
    for recipe, seed in sorted(pairs, key=lambda pair: _depth(pair[0])):
        loop = parts.find("loop", recipe.loop)
        common = recipe.canonical(whole=True)
        if getattr(loop, "many", False):
            for name in loop.varies:
                what, _, option = name.partition(".")
                if option:
                    common[what] = {k: v for k, v in (common[what] or {}).items() if k != option}
                else:
                    common.pop(what, None)
            common["seed"] = "any" if "seed" in loop.varies else seed
            if "start" in loop.varies:
                common["start"] = _depth(recipe)  # never at once with one that it starts from
        else:
            common["seed"] = seed
        key = json.dumps(common, sort_keys=True)
        groups.setdefault(key, []).append((recipe, seed))
        most[key] = getattr(loop, "most", len(pairs))
    return [group[i : i + most[key]] for key, group in groups.items() for i in range(0, len(group), most[key])]


def _depth(recipe: Recipe) -> int:
    """Return how many trainings come before one, each starting from the last, where its loop trains such at once."""
    if not isinstance(recipe.start, Recipe) or "start" not in getattr(parts.find("loop", recipe.loop), "varies", ()):
        return 0
    return 1 + _depth(recipe.start)


def one_network(
    recipe: Recipe,
    seed: int,
    device: torch.device,
    *,
    checkpoint: Path | None = None,
    progress: str | None = None,
    weights: Callable[[Recipe, int], Training] | None = None,
    steps: int | None = None,
) -> Trained:
    """Train one network with `cifar_utils.train.fit`; the arguments are those of `train_many`."""
    data = dataset(recipe, device)
    model, batches, prepared = begin(recipe, seed, data, device, weights)
    optimizer = parts.build("optimizer", recipe.optimizer, [p for p in model.parameters() if p.requires_grad])
    epochs = recipe.epochs or -(-(recipe.iterations or 0) // len(batches))
    schedule, every = None, "epoch"
    if recipe.schedule:
        schedule, every = parts.build("schedule", recipe.schedule, optimizer, len(batches), epochs)
    amp, loss = autocast_dtype(recipe.precision, device), parts.build("loss", recipe.loss)
    watched = {} if steps else {which: held_out(which, data, batches, prepared) for which in recipe.evaluate}
    history = fit(
        model,
        batches,
        optimizer,
        epochs=None if recipe.iterations or steps else recipe.epochs,
        iterations=steps or recipe.iterations,
        loss=loss,
        evaluate_on={which.partition(":")[0]: sets for which, sets in watched.items()},
        schedule=schedule,
        schedule_every=every,
        clip_norm=recipe.clip_norm,
        patience=None if steps else recipe.patience,
        autocast=amp,
        every_step=recipe.every_step or steps is not None,
        keep_first=FIRST_STEPS,
        checkpoint=checkpoint,
        progress=progress,
    )
    model.eval()
    final: dict[str, dict[str, float]] = {}
    scores: dict[str, torch.Tensor] = {}
    for which in () if steps else recipe.final:
        name = which.partition(":")[0]
        found = Measured(model, amp) if name != "train" else model
        mean_loss, accuracy = evaluate(found, held_out(which, data, batches, prepared), loss, amp)
        final[name] = {"loss": mean_loss, "accuracy": accuracy}
        if isinstance(found, Measured):
            scores[name] = torch.cat(found.scores)
    return Trained(model, history, final, scores)


class Measured(nn.Module):
    """A network that keeps the scores that it gave, so that one pass gives both accuracy and scores."""

    def __init__(self, model: nn.Module, autocast: torch.dtype | None):
        super().__init__()
        self.model, self.scores = model, []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the network's scores (B, classes)."""
        scores = self.model(x)
        self.scores.append(scores.detach().to("cpu", torch.float16))
        return scores


def begin(
    recipe: Recipe,
    seed: int,
    data: Dataset,
    device: torch.device,
    weights: Callable[[Recipe, int], Training] | None = None,
) -> tuple[nn.Module, Batches, Callable[[Split], Split]]:
    """Return a recipe's network with its first weights, its training batches, and what prepares other splits."""
    seed_everything(seed)
    make = parts.find("model", recipe.model)
    model = parts.build("model", recipe.model, data)
    layout = getattr(make, "channels_last", True)
    last = data.train.x.dim() == 4 and (device.type == layout if isinstance(layout, str) else layout)
    model = model.to(device, memory_format=torch.channels_last if last else torch.preserve_format)
    train, given, prepared = parts.batch_options(recipe, data, last and data.train.x.dtype == torch.uint8, seed)
    batches = parts.build("draw", recipe.draw, train, recipe.batch, given)
    if isinstance(recipe.start, Recipe):
        if weights is None:
            raise ParameterError("This recipe starts from another training; give `weights`, which finds it.")
        parts.take_over(model, weights(recipe.start, seed).model)
    elif isinstance(recipe.start, Part):
        parts.build("start", recipe.start, model, batches)
    return model, batches, prepared


@lru_cache(maxsize=4)
def _loaded(name: str, sample: bool, images: int | None, validation: int | None, device: torch.device) -> Dataset:
    kind = "sample" if sample else "real"
    return load(name, data=kind, device=device, train_images=images, validation=validation)


def dataset(recipe: Recipe, device: torch.device) -> Dataset:
    """Return the data set that a recipe trains on; loaded once for trainings that follow each other."""
    data = _loaded(recipe.data, recipe.sample, recipe.images, recipe.validation, device)
    return parts.build("select", recipe.select, data) if recipe.select else data


#: Training images of each data set, without those set aside by default, to tell a training's length without it.
SIZES = {"cifar10": 45_000, "mnist": 55_000, "ocr_letters": 9_373, "gurmukhi_digits": 1_000, "circles": 200}


def size_of(recipe: Recipe) -> int:
    """Return about how many training images a recipe has, without loading them."""
    if recipe.sample:
        return 300
    return SIZES.get(recipe.data, 10_000) + (5_000 - recipe.validation if recipe.validation is not None else 0)


def held_out(which: str, data: Dataset, batches: Batches, prepared: Callable[[Split], Split]) -> Batches:
    """Return the batches in which a set is measured: in order, not augmented, prepared as the training images are.

    Where batches are of something else than images, such as triplets, so are these.
    """
    return batches.in_order(prepared(part_of(which, data)))


def part_of(which: str, data: Dataset) -> Split:
    """Return the examples that a recipe names: `val`, `val:1000`, `train` (as many as are held out) or `train:all`.

    Raises:
        ParameterError: the data set has no such part.
    """
    name, _, count = which.partition(":")
    split = getattr(data, name)
    if split is None:
        raise ParameterError(f"{data.name} has no {name} set; leave it out of evaluate and final.")
    if count.isdecimal():
        return split[: int(count)]
    other = data.val or data.test
    return split[: len(other)] if name == "train" and other and count != "all" else split


parts.register(
    "loop",
    "torch",
    code=("from cifar_utils.train.loop import fit, evaluate", begin, held_out, part_of, parts.batch_options),
)(one_network)


def code_of(recipe: Recipe) -> str:
    """Return a sum over the code that a recipe's training runs through; comments and docstrings do not count."""
    loop = parts.find("loop", recipe.loop)
    used = [("model", recipe.model), ("optimizer", recipe.optimizer), ("draw", recipe.draw), ("loss", recipe.loss)]
    used += [("select", recipe.select), ("schedule", recipe.schedule)]
    used += [("prepare", recipe.prepare)] if recipe.prepare.name not in ("scale", "channels") else []
    used += [("augment", part) for part in recipe.augment if part.name not in ("crop", "flip")]
    used += [("start", recipe.start)] if isinstance(recipe.start, Part) else []
    sources = [_with_imports(parts.find(kind, part)) for kind, part in used if part is not None]
    sources.append("from cifar_utils.data.sets import load")
    own = (loop, *getattr(loop, "code", ()), dataset)
    sources += [part if isinstance(part, str) else _source(part) for part in own]
    return fingerprint.of_code(sources)


@cache
def _with_imports(function: Callable) -> str:
    """Return a function's source behind the imports that it needs, so that what it uses can be followed."""
    try:
        source = _source(function)
        ast.parse(source)
    except (OSError, TypeError, SyntaxError):
        return f"# {function!r}"  # built in, or written where no source is kept
    module, words = sys.modules.get(function.__module__), set(re.findall(r"\w+", source))
    path = getattr(module, "__file__", None)
    if path is None:  # a notebook's cell: what it imports stands in the notebook, which has its own sum
        return source
    folder, lines = Path(path).parent, []
    for node in ast.parse(fingerprint.text_of(Path(path))).body:
        if isinstance(node, ast.ImportFrom) and node.level:
            base = folder if node.level == 1 else folder.parents[node.level - 2]
            inside = base.relative_to(fingerprint.PACKAGE.parent).parts + tuple((node.module or "").split("."))
            taken = [alias.name for alias in node.names if (alias.asname or alias.name) in words]
            if taken:
                lines.append(f"from {'.'.join(part for part in inside if part)} import {', '.join(sorted(taken))}")
    return "\n".join([*lines, source])


@cache  # reading one takes a tenth of a second, and every training of a chapter asks for the same few
def _source(function: Callable) -> str:
    return textwrap.dedent(inspect.getsource(function))


def with_sample(recipe: Recipe, sample: bool) -> Recipe:
    """Return a recipe, and the one it starts from, on sample data or on real data."""
    start = with_sample(recipe.start, sample) if isinstance(recipe.start, Recipe) else recipe.start
    return replace(recipe, sample=sample, start=start)
