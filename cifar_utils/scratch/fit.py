"""The loop around `scratch`: epochs of steps, measured after each, and continued where they were killed.

Small networks do not fill two cores with one product of matrices, but two networks do: `fit_many`
trains each in a process of its own, with one thread.
"""

from __future__ import annotations

import json
import math
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from numpy.random import default_rng

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
        seconds: wall-clock time of the run.
        outcome: `running`, `finished` or `diverged`.
    """

    train_loss: list[float] = field(default_factory=list)
    train_accuracy: list[float] = field(default_factory=list)
    evaluations: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    seconds: float = 0.0
    outcome: str = "running"


@dataclass
class Job:
    """One run of `fit_many`; the fields are the arguments of `fit`."""

    network: Network
    optimizer: SGD | Adam
    epochs: int
    batch_size: int
    seed: int = 0
    checkpoint: Path | None = None


def evaluate(network: Network, x: Array, y: Array, at_once: int = 2000) -> tuple[float, float]:
    """Return mean cross-entropy and accuracy (0..1), without dropout and penalties."""
    loss = hits = 0.0
    for part, labels in zip(parts(x, at_once), parts(y, at_once), strict=True):
        z = network.forward(part)
        loss += cross_entropy(z, labels)[0] * len(labels)
        hits += int((z.argmax(1) == labels).sum())
    return loss / len(y), hits / len(y)


def fit(
    network: Network, optimizer: SGD | Adam, x: Array, y: Array, *, epochs: int, batch_size: int, seed: int = 0,
    evaluate_on: dict[str, tuple[Array, Array]] | None = None, checkpoint: Path | None = None,
) -> History:  # fmt: skip
    """Train in place on batches in a new order every epoch; a loss that is no number ends the run as `diverged`.

    Args:
        network, optimizer: what learns, and how.
        x, y: inputs (N, D) of the network's dtype, labels int64 (N,).
        epochs, batch_size: passes over the examples, and examples a step.
        seed: epoch e takes its order and its dropout from (seed, e) alone.
        evaluate_on: sets (x, y) to measure after every epoch, by name.
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
    if batch_size < 1 or epochs < 1:
        raise ParameterError(f"batch_size is {batch_size} and epochs {epochs}; expected 1 or more of both.")
    x = x.astype(network.dtype, copy=False)
    history = _resume(network, optimizer, checkpoint)
    if history.outcome == "finished" and len(history.train_loss) < epochs:
        history.outcome = "running"
    before, started = history.seconds, time.perf_counter()
    while history.outcome == "running":
        epoch = len(history.train_loss)
        order = default_rng([seed, epoch]).permutation(len(y))
        network.reseed(seed, epoch)
        total = hits = 0.0
        with np.errstate(over="ignore", invalid="ignore"):  # what overflows is noticed below
            for start in range(0, len(y), batch_size):
                index = order[start : start + batch_size]
                labels = y[index]
                loss, z = network.loss(x[index], labels)
                optimizer.step(network.parameters, network.gradients)
                total += loss * len(labels)
                hits += int((z.argmax(1) == labels).sum())
            found = {name: evaluate(network, *part) for name, part in (evaluate_on or {}).items()}
        history.train_loss.append(total / len(y))
        history.train_accuracy.append(hits / len(y))
        for name, (loss, accuracy) in found.items():
            entry = history.evaluations.setdefault(name, {"loss": [], "accuracy": []})
            entry["loss"].append(loss)
            entry["accuracy"].append(accuracy)
        if not all(map(math.isfinite, [total, *(loss for loss, _ in found.values())])):
            history.outcome = "diverged"
        elif epoch + 1 >= epochs:
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


def fit_many(
    jobs: Sequence[Job], x: Array, y: Array, *, evaluate_on: dict[str, tuple[Array, Array]] | None = None,
    workers: int = 0,
) -> list[tuple[Network, History]]:  # fmt: skip
    """Train every job's network on the same examples, as `fit` would, several at a time.

    Args:
        jobs: what to train, and how; with more than one worker their networks stay as they were.
        x, y, evaluate_on: as for `fit`; processes share one copy of the arrays.
        workers: how many train at once, each with one thread; 0 for one a core, 1 for none but this process.

    Returns:
        The trained network and its history, for each job in order.
    """
    calls = [(_run, (job, x, y, evaluate_on), {}) for job in jobs]
    return side_by_side(calls, workers)


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
    with parallel_config(backend="loky", inner_max_num_threads=1), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="A worker stopped")  # and was replaced, to free its memory
        return list(Parallel(n_jobs=workers)(calls))


def _run(job: Job, x: Array, y: Array, evaluate_on: dict | None) -> tuple[Network, History]:
    settings = {k: getattr(job, k) for k in ("epochs", "batch_size", "seed", "checkpoint")}
    history = fit(job.network, job.optimizer, x, y, evaluate_on=evaluate_on, **settings)
    return job.network, history
