"""The loop around `scratch`: epochs of steps, measured after each, and continued where they were killed.

Small networks do not fill two cores with one product of matrices, but two networks do: `side_by_side` trains each in
a process of its own, with one thread.
"""

from __future__ import annotations

import json
import math
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.random import Generator, default_rng

from ..errors import ParameterError
from ..files import tensor_files
from .network import Array, Network, cross_entropy, parts
from .optim import SGD, Adam


@dataclass
class History:
    """What a run went through, one entry an epoch; the names are those of `train.History`.

    Attributes:
        train_loss, train_accuracy: running means over the epoch's own batches, penalties included in the loss.
        evaluations: for each named set, `{"loss": [...], "accuracy": [...]}`, without penalties.
        step_loss: of the first `keep_first` steps.
        gradient_norm: mean norm of all gradients together over the epoch's steps, where `fit` was to `watch`.
        penalty: mean share of the penalties in the loss, likewise.
        iterations: how many steps were made.
        seconds: wall-clock time of the run.
        outcome: `running`, `finished` or `diverged`.
    """

    train_loss: list[float] = field(default_factory=list)
    train_accuracy: list[float] = field(default_factory=list)
    evaluations: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    step_loss: list[float] = field(default_factory=list)
    gradient_norm: list[float] = field(default_factory=list)
    penalty: list[float] = field(default_factory=list)
    iterations: int = 0
    seconds: float = 0.0
    outcome: str = "running"


def evaluate(network: Network, x: Array, y: Array, at_once: int = 2000) -> tuple[float, float]:
    """Return mean cross-entropy and accuracy (0..1), without dropout and penalties."""
    loss = hits = 0.0
    for part, labels in zip(parts(x, at_once), parts(y, at_once), strict=True):
        z = network.forward(part)
        loss += cross_entropy(z, labels)[0] * len(labels)
        hits += int((z.argmax(1) == labels).sum())
    return loss / len(y), hits / len(y)


def fit(
    network: Network,
    optimizer: SGD | Adam,
    x: Array,
    y: Array,
    *,
    batch_size: int,
    epochs: int = 0,
    marks: Sequence[int] = (),
    shuffle: bool = True,
    seed: int | Sequence[int] = 0,
    evaluate_on: dict[str, tuple[Array, Array]] | None = None,
    inputs: Callable[[Array, Generator], Array] | None = None,
    watch: bool = False,
    keep_first: int = 0,
    steps: int | None = None,
    checkpoint: Path | None = None,
) -> History:
    """Train in place on batches, in a new order every epoch; a loss that is no number ends the run as `diverged`.

    Args:
        network, optimizer: what learns, and how.
        x, y: inputs (N, D) of the network's dtype, labels int64 (N,).
        batch_size: examples a step.
        epochs: passes over the examples.
        marks: numbers of steps, in the place of epochs: every batch is drawn anew from all examples, and what
            happens after every epoch happens after so many steps.
        shuffle: a new order every epoch; without it the batches are the same in every one.
        seed: one number or several; epoch e takes its order and its dropout from (seed, e) alone.
        evaluate_on: sets (x, y) to measure after every epoch, by name.
        inputs: makes a batch's inputs from the indices of its examples and the epoch's generator, for random
            changes of them; `x[index]` by default.
        watch: measure norms of gradients and the penalties, too.
        keep_first: keep the losses of so many first steps.
        steps: end after so many, measuring nothing: to compare a beginning.
        checkpoint: file written after every epoch; a run that finds it continues where it was killed. A damaged
            one is put aside, and the run starts anew.

    Raises:
        RunError: the checkpoint cannot be written.
        ParameterError: labels and inputs that do not fit, or a batch size below 1.
    """
    sizes = network.settings["sizes"]
    if x.shape != (len(y), sizes[0]) or not 0 <= y.min() <= y.max() < sizes[-1]:
        raise ParameterError(f"Inputs {x.shape} with labels {y.shape} in {y.min()}..{y.max()} do not fit a network "
                             f"of sizes {sizes}; expected (N, {sizes[0]}) and 0..{sizes[-1] - 1}.")  # fmt: skip
    length = epochs or len(marks)
    if batch_size < 1 or length < 1:
        raise ParameterError(f"batch_size is {batch_size} and epochs {epochs}; expected 1 or more of both.")
    x = x.astype(network.dtype, copy=False)
    own = [seed] if isinstance(seed, int) else [*seed]
    history = _resume(network, optimizer, checkpoint)
    if history.outcome == "finished" and len(history.train_loss) < length:
        history.outcome = "running"
    before, started = history.seconds, time.perf_counter()
    anywhere = default_rng(seed)
    while history.outcome == "running":
        epoch = len(history.train_loss)
        network.reseed(*own, epoch)
        if marks:
            rng, count = anywhere, marks[epoch] - (marks[epoch - 1] if epoch else 0)
            batches = (rng.integers(len(y), size=batch_size) for _ in range(count))
        else:
            rng = default_rng([*own, epoch])
            order = rng.permutation(len(y)) if shuffle else np.arange(len(y))
            batches = iter(parts(order, batch_size))
        seen = total = hits = 0.0
        watched = []
        with np.errstate(over="ignore", invalid="ignore"):  # what overflows is noticed below
            for index in batches if steps is None else islice(batches, steps - history.iterations):
                labels = y[index]
                loss, z = network.loss(x[index] if inputs is None else inputs(index, rng), labels)
                if watch:
                    squares = sum(float(np.vdot(g, g)) for g in network.gradients)
                    watched.append((math.sqrt(squares), network.penalty()))
                optimizer.step(network.parameters, network.gradients)
                total += loss * len(labels)
                hits += int((z.argmax(1) == labels).sum())
                seen += len(labels)
                if history.iterations < keep_first:
                    history.step_loss.append(loss)
                history.iterations += 1
            if steps is not None and history.iterations >= steps:
                history.seconds = time.perf_counter() - started
                return history
            found = {name: evaluate(network, *part) for name, part in (evaluate_on or {}).items()}
        history.train_loss.append(total / seen)
        history.train_accuracy.append(hits / seen)
        if watch:
            norm, penalty = np.mean(watched, 0).tolist()
            history.gradient_norm.append(norm)
            history.penalty.append(penalty)
        for name, (loss, accuracy) in found.items():
            entry = history.evaluations.setdefault(name, {"loss": [], "accuracy": []})
            entry["loss"].append(loss)
            entry["accuracy"].append(accuracy)
        if not all(map(math.isfinite, [total, *(loss for loss, _ in found.values())])):
            history.outcome = "diverged"
        elif epoch + 1 >= length:
            history.outcome = "finished"
        history.seconds = before + time.perf_counter() - started
        if checkpoint is not None:
            slots = {f"slot{k}": s for k, s in enumerate(optimizer.slots)}
            network.save(checkpoint, arrays=slots, history=json.dumps(asdict(history)),
                         steps=str(getattr(optimizer, "steps", 0)))  # fmt: skip
    return history


def _resume(network: Network, optimizer: SGD | Adam, checkpoint: Path | None) -> History:
    def restore(path: Path) -> History:
        slots, texts = network.load(path)
        history, steps = History(**json.loads(texts["history"])), int(texts["steps"])
        optimizer.slots = [slots[f"slot{k}"] for k in range(len(slots))]
        if isinstance(optimizer, Adam):
            optimizer.steps = steps
        return history

    before = [p.copy() for p in network.parameters]
    history = tensor_files.resume(checkpoint, restore)
    if history is None:
        for p, old in zip(network.parameters, before, strict=True):
            p[...] = old
    return history or History()


def side_by_side(calls: Sequence[tuple[Callable, tuple, dict]], workers: int = 0) -> list:
    """Return the results of calls (function, arguments, named arguments), as `joblib.delayed` writes them.

    Args:
        calls: what to compute; the functions may be a notebook's own.
        workers: processes at once, each with one thread; 0 for one a core, 1 for none but this one.

    Raises:
        ParameterError: a negative number of workers.
    """
    from joblib import Parallel, cpu_count, parallel_config

    if workers < 0:
        raise ParameterError(f"workers is {workers}; expected 0 or more.")
    workers = min(workers or cpu_count(), len(calls))
    if workers <= 1:
        return [function(*args, **named) for function, args, named in calls]
    # "c": what is above a megabyte is shared, not copied, and a worker may still write to what it was given
    with parallel_config(backend="loky", inner_max_num_threads=1, mmap_mode="c"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="A worker stopped")  # and was replaced, to free its memory
        return list(Parallel(n_jobs=workers)(calls))
