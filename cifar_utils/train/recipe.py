"""A recipe says everything that decides a training; a training is a recipe with a seed."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import MISSING, dataclass, fields, replace
from functools import cached_property
from typing import Any

from ..errors import ParameterError

#: What may be measured; with a colon and a number, so many of its first examples: `val:1000`. `train` are as many
#: as are held out, `train:all` are all.
SETS = ("train", "val", "test")

Value = bool | int | float | str | None | tuple


def _plain(key: str, value) -> Value:
    """Return a value that JSON gives back as it is, with lists as tuples and whole floats as floats."""
    if isinstance(value, (list, tuple)):
        return tuple(_plain(key, v) for v in value)
    if hasattr(value, "item") and not isinstance(value, (bool, int, float, str)):
        value = value.item()  # NumPy's numbers
    if value is None or isinstance(value, (bool, int, str)) or (isinstance(value, float) and math.isfinite(value)):
        return value
    raise ParameterError(f"Option {key} of a part is {value!r}; expected numbers and texts, or lists of them.")


class Part:
    """A named part of a recipe with its options, such as `SGD(lr=0.1)` or `Part("rdfia", dropout=0.5)`.

    What a name stands for is looked up when a network is trained (`cifar_utils.train.parts`), so that a recipe can
    be written, compared and stored without PyTorch.

    Args:
        name: the part's name.
        options: numbers, texts, and lists of them; an option at its default is another recipe than one left out.
    """

    def __init__(self, name: str, **options):
        self.name = name
        self.options: dict[str, Any] = {key: _plain(key, options[key]) for key in sorted(options)}

    def but(self, **options) -> Part:
        """Return the part with other options."""
        return Part(self.name, **self.options | options)

    def __getitem__(self, option: str) -> Any:
        return self.options[option]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Part) and (self.name, self.options) == (other.name, other.options)

    def __hash__(self) -> int:
        return hash((self.name, tuple(self.options.items())))

    def __repr__(self) -> str:
        said = ", ".join(f"{key} {_shown(value)}" for key, value in self.options.items())
        return f"{self.name} ({said})" if said else self.name


def SGD(lr: float, **options) -> Part:
    """Return stochastic gradient descent; `momentum`, `weight_decay` and `nesterov` as in PyTorch."""
    return Part("SGD", lr=lr, **options)


def Adam(lr: float = 1e-3, **options) -> Part:
    """Return Adam; `betas`, `eps` and `weight_decay` as in PyTorch."""
    return Part("Adam", lr=lr, **options)


def as_part(given: str | Part) -> Part:
    """Return a part; a text is the name of one without options."""
    return given if isinstance(given, Part) else Part(given)


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a training but its seed.

    Attributes:
        data: the data set's name, as in `cifar_utils.data.load`.
        model: the network; a text is the name of one without options, here and for the other parts.
        optimizer: `SGD(0.1)`, `Adam(1e-3)` or another part.
        batch: examples a step.
        epochs, iterations: how long; exactly one of them.
        images: training images kept, stratified by class; None for all.
        validation: images set aside of the training set; None for the data set's own number.
        select: what is done to the data set before anything else, such as `Part("random labels", seed=5)`.
        prepare: how pixels become numbers: `scale` (0..1) or `channels` (standardised by the training set), or a
            part of `cifar_utils.data.prepare`.
        augment: random changes of training images, in order: `Part("crop", pixels=4)`, `Part("flip")`, ...
        draw: how batches are drawn: `passes` over the set, `replacement`, or a part.
        loss: of scores and labels.
        schedule: of the learning rate.
        clip_norm: largest norm of all gradients together.
        patience: stop when the loss on `val` has not reached a new minimum for so many epochs.
        start: where weights begin: None for the network's own, a part, or the recipe of a training with the same
            seed whose weights are taken over.
        precision: `auto` (bfloat16 where the device has it), `float32` or `bfloat16`.
        loop: how it is trained: `torch` is `cifar_utils.train.fit`; others stand in `cifar_utils.train.loops`.
        evaluate: sets measured after every epoch.
        final: sets measured at the end; the scores of `val` and `test` are kept.
        every_step: keep the loss of every step.
        sample: on the embedded sample data instead of the data set.
    """

    data: str
    model: Part
    optimizer: Part = SGD(0.1)
    batch: int = 128
    epochs: int | None = None
    iterations: int | None = None
    images: int | None = None
    validation: int | None = None
    select: Part | None = None
    prepare: Part = Part("scale")
    augment: tuple[Part, ...] = ()
    draw: Part = Part("passes")
    loss: Part = Part("cross-entropy")
    schedule: Part | None = None
    clip_norm: float | None = None
    patience: int | None = None
    start: Part | Recipe | None = None
    precision: str = "auto"
    loop: Part = Part("torch")
    evaluate: tuple[str, ...] = ("val",)
    final: tuple[str, ...] = ("train", "val", "test")
    every_step: bool = False
    sample: bool = False

    def __post_init__(self):
        put = lambda name, value: object.__setattr__(self, name, value)  # noqa: E731
        for name in ("model", "optimizer", "prepare", "draw", "loss", "loop"):
            put(name, as_part(getattr(self, name)))
        for name in ("select", "schedule", "start"):
            if isinstance(getattr(self, name), str):
                put(name, as_part(getattr(self, name)))
        put("augment", tuple(as_part(part) for part in self.augment))
        for name in ("evaluate", "final"):
            put(name, tuple(_a_set(name, which) for which in getattr(self, name)))
        if (self.epochs is None) == (self.iterations is None):
            raise ParameterError(
                f"A recipe gives either epochs or iterations; this one gives epochs {self.epochs} and "
                f"iterations {self.iterations}."
            )
        for name in ("batch", "epochs", "iterations", "images", "patience"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
                raise ParameterError(f"{name} of a recipe is {value!r}; expected a whole number, 1 or more.")

    def but(self, **changes) -> Recipe:
        """Return the recipe with other values; `epochs` puts `iterations` out, and the other way round.

        Raises:
            ParameterError: a name that no recipe has.
        """
        known = {f.name for f in fields(self)}
        if unknown := set(changes) - known:
            raise ParameterError(
                f"A recipe has no {sorted(unknown)[0]!r}; expected one of {', '.join(sorted(known))}."
            )
        if changes.get("epochs") and "iterations" not in changes:
            changes["iterations"] = None
        if changes.get("iterations") and "epochs" not in changes:
            changes["epochs"] = None
        return replace(self, **changes)

    def canonical(self, whole: bool = False) -> dict:
        """Return the recipe as JSON-ready values; defaults are left out, so that a new field changes no key.

        Args:
            whole: with the defaults, to compare field by field.
        """
        found = {}
        for f in fields(self):
            value = getattr(self, f.name)
            if whole or f.default is MISSING or value != f.default:
                found[f.name] = _canonical(value)
        return found

    def key(self, seed: int) -> str:
        """Return the name of the training with this seed: 16 hexadecimal digits."""
        return _digest({"recipe": self.canonical(), "seed": int(seed)})

    @cached_property
    def stem(self) -> str:
        """What the recipe has in common with shorter and longer ones, as a sum; its own where length decides more.

        A training contains a shorter one of the same stem: its first epochs are the same.
        """
        without = {k: v for k, v in self.canonical().items() if k not in ("epochs", "iterations")}
        if self.patience or self.iterations or (self.schedule and self.schedule.name in LENGTH_DECIDES):
            without = self.canonical()
        return _digest(without)


#: Schedules that go to another rate at the same step when the training is longer.
LENGTH_DECIDES = ("one cycle", "cosine", "linear", "warm up, cosine")


def from_canonical(found: dict) -> Recipe:
    """Return the recipe that `Recipe.canonical` wrote.

    Raises:
        ParameterError: it is none, or one of a later version.
    """
    try:
        return Recipe(**{key: _restored(value) for key, value in found.items()})
    except (TypeError, AttributeError):
        raise ParameterError(f"This is no recipe of the present version: {json.dumps(found)[:200]}") from None


def differences(recipe: Recipe, base: Recipe) -> dict[str, str]:
    """Return in words what `recipe` has otherwise than `base`, by field."""
    return {
        f.name: _shown(getattr(recipe, f.name))
        for f in fields(recipe)
        if getattr(recipe, f.name) != getattr(base, f.name)
    }


def in_words(recipe: Recipe) -> dict[str, str]:
    """Return every field that says something, in words: what a recipe's table shows."""
    quiet = {"sample", "every_step", "loop", "final", "evaluate"}
    return {
        f.name: _shown(value)
        for f in fields(recipe)
        if f.name not in quiet and (value := getattr(recipe, f.name)) not in (None, ())
    }


def _digest(value: dict) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _canonical(value):
    if isinstance(value, Part):
        return {"part": value.name, **{k: _canonical(v) for k, v in value.options.items()}}
    if isinstance(value, Recipe):
        return {"recipe": value.canonical()}
    if isinstance(value, tuple):
        return [_canonical(v) for v in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value  # 1 and 1.0 are one rate


def _restored(value):
    if isinstance(value, dict) and "part" in value:
        return Part(value["part"], **{k: _restored(v) for k, v in value.items() if k != "part"})
    if isinstance(value, dict) and "recipe" in value:
        return from_canonical(value["recipe"])
    return tuple(_restored(v) for v in value) if isinstance(value, list) else value


def _a_set(field: str, which: str) -> str:
    name, _, count = which.partition(":")
    if name not in SETS or (count and count != "all" and not (count.isdecimal() and int(count))):
        raise ParameterError(
            f"{field} of a recipe names {which!r}; expected {', '.join(SETS)}, so many of one as in val:1000, or "
            "train:all."
        )
    return which


def _shown(value) -> str:
    if isinstance(value, tuple):
        return ", ".join(_shown(v) for v in value) or "none"
    if isinstance(value, Recipe):
        return f"a training of {value.model} on {value.data}"
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    return f"{value:,}" if isinstance(value, int) else f"{value:g}" if isinstance(value, float) else str(value)
