"""How long trainings take on this machine: from finished ones, from a few steps, or from their operations."""

from __future__ import annotations

import json
import math
import os
import time
from contextlib import suppress
from functools import cached_property
from statistics import median

import torch

from cifar_utils import environment
from cifar_utils.device import autocast_dtype
from cifar_utils.errors import CifarUtilsError
from cifar_utils.train import parts
from cifar_utils.train import training as one
from cifar_utils.train.foresight import operations_of_step, steps
from cifar_utils.train.recipe import Recipe
from cifar_utils.train.store import Store

#: Seconds that the measurement of speeds may take in all, with what it loads and compiles; what is left is estimated
#: from what is known.
MEASURING = 3.0

#: Seconds of a step from which on its operations tell enough: to wait for a few would take too long.
SLOW = 0.3


#: Where the file of speeds keeps operations by step; beside it stand the seconds by machine.
COUNTS = "operations"


class Speeds:
    """How long a step of a recipe takes on this machine.

    Known from finished trainings on this machine; else from the operations that it needs, at the rate of those;
    where these say that a few steps are soon done, measured on them. Operations are those of a finished training on
    any machine, or are counted.

    Args:
        kept: the store whose trainings tell.
        at_once: whether nothing is counted or measured, either of which takes 2 seconds for what it imports.
            Otherwise all are counted, 50 ms each: to guess instead would tell other times at every call.
    """

    def __init__(self, kept: Store, at_once: bool = False):
        self.store, self.counts_new, self.left = kept, not at_once, 0.0 if at_once else MEASURING
        self.machine = environment.machine(kept.device)
        self.path = kept.root / "speeds.json"
        told: dict[str, dict[str, float]] = {}
        with suppress(OSError, ValueError):
            told = json.loads(self.path.read_text(encoding="utf-8"))
        self.known = told.get(self.machine, {})
        self.counts = told.get(COUNTS, {})
        self.guessed: set[str] = set()
        self._elsewhere: dict[str, float] = {}  # seconds of a step on other machines of the same kind
        self._rates: dict[str, list[tuple[float, float]]] = {}  # of a step: operations, and of them a second
        for head in kept.heads():
            if head.iterations < 20:
                continue
            step = head.operations / head.iterations
            if step:  # some loops count none
                self.counts.setdefault(_counted_as(head.recipe), step)
            if head.machine == self.machine:
                self.known[self._shape(head.recipe)] = head.seconds / head.iterations
                if step and head.seconds:
                    rate = head.operations / head.seconds
                    self._rates.setdefault(head.recipe["model"]["part"], []).append((step, rate))
            elif head.machine and head.machine.startswith("CPU") == (kept.device.type == "cpu"):
                self._elsewhere[self._shape(head.recipe)] = head.seconds / head.iterations

    def is_guess(self, recipe: Recipe) -> bool:
        """Whether the seconds of a recipe are neither counted nor measured, for want of time."""
        return self._shape(recipe.canonical()) in self.guessed

    def seconds(self, recipe: Recipe) -> float:
        """Return the estimated seconds of one training."""
        shape = self._shape(recipe.canonical())
        if shape not in self.known:
            try:
                self.known[shape] = self._found(recipe, shape)
            except CifarUtilsError:
                self.known[shape] = self._guessed(recipe)
        return self.known[shape] * steps(recipe)

    def _found(self, recipe: Recipe, shape: str) -> float:
        alike = _counted_as(recipe.canonical())
        if alike not in self.counts:
            if not self.counts_new:
                return self._guessed(recipe)
            self.counts[alike] = operations_of_step(recipe) or 0.0
            self._keep(COUNTS, alike, self.counts[alike])
        count = self.counts[alike]
        step = count / self._rate(recipe, count) if count else 0.0
        if step < SLOW:  # such a step is more than its operations
            if self.left <= 0:
                return self._guessed(recipe, count)
            began = time.perf_counter()
            step = self._measured(recipe)
            self.left -= time.perf_counter() - began
            self._keep(self.machine, shape, step)  # counted ones are told better as trainings finish
        return step

    def _rate(self, recipe: Recipe, count: float) -> float:
        """Return operations a second: of trainings of the same kind of network, of any, or half a product's.

        Of these the ones count whose steps have about as many operations, for a processor gets more done in large
        products than in small ones; none is told by steps of less than a tenth or more than ten times as many.
        """
        every = [pair for pairs in self._rates.values() for pair in pairs]
        apart = lambda pair: abs(math.log(pair[0] / count))  # noqa: E731
        for known in (self._rates.get(recipe.model.name, ()), every):
            if known and (least := min(map(apart, known))) <= math.log(10):
                return median(pair[1] for pair in known if apart(pair) <= least + math.log(2))
        return self._of_products / 2

    @cached_property
    def _of_products(self) -> float:
        return matrix_product_rate(self.store.device)

    def _measured(self, recipe: Recipe) -> float:
        # images of the same size, but few: a list waits neither for a network nor for data to be read
        short = recipe.but(sample=True, images=None, validation=None, batch=min(recipe.batch, 64))
        short = short.but(start=None) if isinstance(recipe.start, Recipe) else short
        if recipe.loop.name == "torch":  # prepares images once, not at each step
            short = short.but(prepare="scale")
        at_once = getattr(parts.find("loop", recipe.loop), "usually", 1)
        pairs = [(short, seed) for seed in range(at_once)]
        # of several at once each tells its share
        seconds = lambda n: one.train_many(pairs, self.store.device, steps=n)[0].history.seconds  # noqa: E731
        seconds(1)  # loads data, compiles, and asks for memory
        began = time.perf_counter()
        step = seconds(1)
        more = min(4, steps(short))  # some schedules end with the training
        if time.perf_counter() - began < SLOW and more > 1:  # what happens once, at the start, does not count
            step = max(seconds(more) - step, 1e-6) / (more - 1)
        return step * recipe.batch / short.batch

    def _guessed(self, recipe: Recipe, count: float = 0.0) -> float:
        """Return what a step took on another machine; else the time of its operations at a known rate.

        Else the middle one of the known speeds by image: of the same kind of network here or elsewhere, or of any.
        """
        shape = self._shape(recipe.canonical())
        self.guessed.add(shape)
        if shape in self._elsewhere:
            return self._elsewhere[shape]
        if count and self._rates:
            return count / self._rate(recipe, count)
        here, anywhere = (
            [(json.loads(shape), v) for shape, v in each.items()] for each in (self.known, self._elsewhere)
        )
        alike = lambda known: [pair for pair in known if pair[0]["model"]["part"] == recipe.model.name]  # noqa: E731
        known = alike(here) or alike(anywhere) or here or anywhere
        return recipe.batch * median([v / shape.get("batch", 128) for shape, v in known] or [1e-3])

    def _keep(self, group: str, shape: str, value: float) -> None:
        with suppress(OSError, ValueError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            old = json.loads(self.path.read_text(encoding="utf-8")) if self.path.exists() else {}
            old.setdefault(group, {})[shape] = value
            draft = self.path.with_suffix(f".{os.getpid()}.part")
            draft.write_text(json.dumps(old), encoding="utf-8")
            os.replace(draft, self.path)

    def _shape(self, told: dict) -> str:
        """Return what decides the time of a step, of a recipe in its canonical form, as text."""
        keep = ("data", "model", "batch", "augment", "prepare", "draw", "loss", "precision", "loop", "sample")
        amp = autocast_dtype(told.get("precision", "auto"), self.store.device)
        return json.dumps({k: told[k] for k in keep if k in told} | {"precision": str(amp)}, sort_keys=True)


def _counted_as(told: dict) -> str:
    """Return what decides the operations of a step, of a recipe in its canonical form, as text."""
    keep = ("data", "model", "batch", "draw", "loop", "sample")
    return json.dumps(
        {k: told[k] for k in keep if k in told} | {"loss": told.get("loss", {}).get("part")}, sort_keys=True
    )


def matrix_product_rate(device: torch.device, size: int = 1024) -> float:
    """Return the floating-point operations a second of one matrix product in float32, the best of three."""
    a, taken = torch.ones(size, size, device=device), []
    for _ in range(4):  # the first is not counted
        began = time.perf_counter()
        (a @ a)[0, 0].item()
        taken.append(time.perf_counter() - began)
    return 2 * size**3 / min(taken[1:])
