"""A finished training and its record: what is stored of it, read back only if it is whole."""

from __future__ import annotations

import hashlib
import json
import math
import os
import sys
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ..data import Batches, Dataset, Split
from ..device import autocast_dtype
from ..errors import RunError
from ..files import tensor_files
from . import parts
from . import training as one
from .checkpoint import weights_of
from .loop import History
from .recipe import Recipe, from_canonical

#: The file of weights that a loop gave as arrays.
WEIGHTS = "weights.safetensors"


@dataclass(frozen=True)
class Training:
    """A finished training.

    Attributes:
        recipe, seed: what was trained.
        record: what is stored of it, JSON-ready.
        folder: where its weights and scores are; None where only the record is here.
        device: where its network is put when it is asked for.
    """

    recipe: Recipe
    seed: int
    record: dict
    folder: Path | None
    device: torch.device

    @cached_property
    def history(self) -> History:
        """What it went through, epoch by epoch."""
        return History(**_with_nan(self.record["history"]))

    @cached_property
    def extra(self) -> dict[str, list]:
        """What its loop measured besides, such as norms of gradients: lists with one entry an epoch."""
        return _with_nan(self.record.get("extra", {}))  # pyright: ignore[reportReturnType]

    @property
    def seconds(self) -> float:
        """Wall-clock seconds of the training itself, on the machine in `record["environment"]`."""
        return self.record["history"]["seconds"]

    def accuracy(self, which: str = "val") -> float:
        """Return the final accuracy on a set in percent; NaN where it was not measured."""
        return 100 * self._final(which, "accuracy")

    def loss(self, which: str = "val") -> float:
        """Return the final loss on a set; NaN where it was not measured."""
        return self._final(which, "loss")

    def _final(self, which: str, what: str) -> float:
        value = self.record["final"].get(which, {}).get(what)
        return math.nan if value is None else value

    def curve(self, which: str, what: str = "accuracy") -> list[float]:
        """Return the accuracy (0..1) or loss of a set after each epoch; `running` is over the epoch's own batches."""
        if which == "running":
            return getattr(self.history, f"train_{what}")
        return self.history.evaluations[which][what]

    @cached_property
    def data(self) -> Dataset:
        """The data set that it was trained on."""
        return one.dataset(self.recipe, self.device)

    @cached_property
    def model(self) -> nn.Module:
        """The trained network on its device, in evaluation mode; changing it changes nothing in the store.

        Of a loop in NumPy it is the loop's own kind of network.

        Raises:
            RunError: only the record is here, or the file is damaged.
        """
        restore = getattr(parts.find("loop", self.recipe.loop), "restore", None)
        if restore is not None:
            return restore(self)
        network = self._begun[0]
        weights_of(self._weights(), network)
        return network.eval()

    @cached_property
    def arrays(self) -> dict[str, np.ndarray]:
        """The weights of a network in NumPy, by name.

        Raises:
            RunError: only the record is here, or the file is damaged.
        """
        return tensor_files.read(self._weights())[0]

    def _weights(self) -> Path:
        if (path := self.state) is None:
            raise RunError(
                f"Of training {self.record['key']} only the record is here; ask for it with weights=True, which "
                "trains it here."
            )
        return path

    @property
    def state(self) -> Path | None:
        """The file of its weights; None where only the record is here."""
        path = self.folder / self.record["state"] if self.folder and self.record.get("state") else None
        return path if path and path.exists() else None

    @property
    def scores_file(self) -> Path | None:
        """The file of its scores; None where only the record is here, or none were kept."""
        path = self.folder / "scores.safetensors" if self.folder else None
        return path if path and path.exists() else None

    @cached_property
    def _begun(self):
        with torch.random.fork_rng(devices=[]):
            return one.begin(replace(self.recipe, start=None), self.seed, self.data, self.device)

    def batches(self, split: Split, size: int = 1000) -> Batches:
        """Return a split in order, not augmented, prepared as the training images were."""
        _, like, prepared = self._begun
        return Batches.for_evaluation(prepared(split), like, size)

    def evaluate(self, split: Split, network: nn.Module | None = None) -> tuple[float, float]:
        """Return loss and accuracy (0..1) of the trained network, or of another on the same inputs, on any split."""
        amp = autocast_dtype(self.recipe.precision, self.device)
        return one.evaluate(network or self.model, self.batches(split), autocast=amp)

    def measure(self, split: Split) -> float:
        """Return the network's accuracy on any split, in percent."""
        return 100 * self.evaluate(split)[1]

    def untrained(self) -> nn.Module:
        """Return the network as it was before its first step, on its device."""
        with torch.random.fork_rng(devices=[]):
            return one.begin(replace(self.recipe, start=None), self.seed, self.data, self.device)[0]

    def scores(self, which: str = "val") -> torch.Tensor:
        """Return the final scores of `val` or `test`, float16 (N, classes), on the CPU.

        Raises:
            RunError: only the record is here, or that set was not measured.
        """
        if self.scores_file is None:
            raise RunError(f"The scores of training {self.record['key']} are not here; ask for it with scores=True.")
        arrays, _ = tensor_files.read(self.scores_file)
        if which not in arrays:
            raise RunError(f"Training {self.record['key']} kept no scores of {which}; name it in the recipe's final.")
        return torch.from_numpy(arrays[which])

    def until(self, recipe: Recipe) -> Training:
        """Return this training as far as a shorter one of the same stem would have gone, without its weights."""
        end, then = recipe.epochs or 0, self.record["history"]
        per_epoch = then["iterations"] // len(then["train_loss"])
        cut = {k: v[:end] if isinstance(v, list) and k != "step_loss" else v for k, v in then.items()}
        share = end / len(then["train_loss"])
        cut |= {
            "evaluations": {n: {k: v[:end] for k, v in e.items()} for n, e in then["evaluations"].items()},
            "step_loss": then["step_loss"][: end * per_epoch],
            "iterations": end * per_epoch,
            "operations": int(then["operations"] * share),
            "seconds": then["seconds"] * share,
            "outcome": "finished",
        }
        final = {n: {k: v[-1] for k, v in e.items()} for n, e in cut["evaluations"].items()}  # pyright: ignore[reportAttributeAccessIssue]
        extra = {name: values[:end] for name, values in self.record.get("extra", {}).items()}
        record = {**self.record, "recipe": recipe.canonical(), "history": cut, "final": final, "extra": extra}
        return replace(self, recipe=recipe, record={**record, "part_of": self.record["key"]}, folder=None)


def is_current(record: dict) -> bool:
    """Whether today's code is that which trained, or was compared with it and begins alike."""
    code = one.code_of(from_canonical(record["recipe"]))
    return code == record["code"] or code in record["verified"]


def read_record(path: Path) -> dict | None:
    """Return a record, or None where there is none that is whole: absent, half copied, damaged or changed by hand."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        record = json.loads(path.read_text(encoding="utf-8"))
        if record.pop("sum") == _sum(record):
            return record
        print(f"{path} was changed after it was written, and does not count.", file=sys.stderr)
    return None


def write_record(path: Path, record: dict) -> None:
    """Write a record with its sum, all or nothing.

    Raises:
        RunError: the disk is full, or may not be written to.
    """
    draft = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(json.dumps({**record, "sum": _sum(record)}, ensure_ascii=False) + "\n", encoding="utf-8")
        os.replace(draft, path)
    except OSError as error:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        raise RunError(
            f"{path.name} could not be written into {path.parent} ({error.strerror}); make room there, or allow "
            "writing, and run again: what was trained is kept."
        ) from None


def _sum(record: dict) -> str:
    text = json.dumps(record, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def rounded(value):
    """Return a value with seven digits a number: as many as float32 has."""
    if isinstance(value, float):
        return float(f"{value:.7g}") if math.isfinite(value) else None
    if isinstance(value, dict):
        return {k: rounded(v) for k, v in value.items()}
    return [rounded(v) for v in value] if isinstance(value, list) else value


def _with_nan(value):
    """Return a value with NaN where the file has nothing: JSON has no NaN."""
    if isinstance(value, dict):
        return {k: _with_nan(v) for k, v in value.items()}
    if isinstance(value, list):
        return [math.nan if v is None else _with_nan(v) for v in value]
    return value
