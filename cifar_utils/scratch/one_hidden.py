"""A network with one hidden layer, trained with small batches or one example at a time, as a compiled scalar loop.

Stochastic gradient descent with batches of one cannot be vectorised over examples: every step needs
the weights that the last one left. What remains in a step is some thousands of multiplications, too
few to pay for a call into NumPy or PyTorch, so an epoch is one function that numba compiles.
Runs of several seeds or settings share nothing and go onto the cores side by side.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from tqdm import tqdm

from .. import operations
from ..errors import DataError, ParameterError
from . import compiled

#: Hidden activations and initialisations, in the order of the numbers that the loop knows them by.
ACTIVATIONS = ("sigmoid", "tanh", "relu")
INITS = ("uniform", "zeros", "normal", "torch")
OPTIMIZERS = ("sgd", "adam")


@dataclass(frozen=True)
class OneHidden:
    """Weights of softmax(W2 act(W1 x + b1) + b2).

    Attributes:
        w1: float64 (inputs, hidden), an input's weights beside each other in memory.
        b1: float64 (hidden,).
        w2: float64 (classes, hidden).
        b2: float64 (classes,).
        activation: one of `ACTIVATIONS`.
    """

    w1: np.ndarray
    b1: np.ndarray
    w2: np.ndarray
    b2: np.ndarray
    activation: str = "sigmoid"

    def scores(self, x: np.ndarray) -> np.ndarray:
        """Return scores (N, classes), before the softmax, of examples (N, inputs)."""
        z = x @ self.w1 + self.b1
        act = {"sigmoid": lambda z: 1 / (1 + np.exp(-z)), "tanh": np.tanh, "relu": lambda z: np.maximum(z, 0)}
        return act[self.activation](z) @ self.w2.T + self.b2

    def copy(self) -> OneHidden:
        """Return the same network with weights of its own."""
        return OneHidden(self.w1.copy(), self.b1.copy(), self.w2.copy(), self.b2.copy(), self.activation)


@dataclass(frozen=True)
class Settings:
    """One run of the loop.

    Attributes:
        hidden: units of the hidden layer.
        lr: learning rate.
        epochs: passes over the training set.
        seed: seeds the initial weights and, apart from them, the order of examples.
        activation: one of `ACTIVATIONS`.
        init: `uniform` draws from [-0.1, 0.1] with biases 0, `zeros` is what it says, `normal` draws
            from N(0, 0.1^2), `torch` as `torch.nn.Linear`: uniform within 1/sqrt(inputs), biases too.
        shuffle: whether the examples come in a new order in every epoch.
        batch: examples a step, whose gradients are averaged; the last step of an epoch takes what is left.
        optimizer: `sgd`, or `adam` with its usual constants 0.9, 0.999 and 1e-8.
        l2: weight decay: l2 * w is added to a step's gradient (of weights, not of biases).
    """

    hidden: int
    lr: float
    epochs: int
    seed: int = 0
    activation: str = "sigmoid"
    init: str = "uniform"
    shuffle: bool = True
    batch: int = 1
    optimizer: str = "sgd"
    l2: float = 0.0


@dataclass(frozen=True)
class Course:
    """What a run went through: one entry an epoch, measured after it, over the whole set.

    Attributes:
        train_loss, val_loss: mean cross-entropy, float64 (epochs,).
        train_accuracy, val_accuracy: shares in 0..1, float64 (epochs,).
        val_losses: cross-entropy of every validation example, float64 (epochs, N).
        network: the weights at the end.
        step_loss: loss of each of the first steps, or of all, before it was taken.
        val_loss_steps: validation loss after every step, mean over an epoch's, where every step is kept.
        seconds: wall-clock time of the run, in its thread.
    """

    train_loss: np.ndarray
    val_loss: np.ndarray
    train_accuracy: np.ndarray
    val_accuracy: np.ndarray
    val_losses: np.ndarray = field(repr=False)
    network: OneHidden = field(repr=False)
    step_loss: list[float] = field(default_factory=list, repr=False)
    val_loss_steps: list[float] = field(default_factory=list, repr=False)
    seconds: float = 0.0


def initial(settings: Settings, inputs: int, classes: int) -> OneHidden:
    """Return the network that a run starts from.

    Raises:
        ParameterError: an activation or initialisation that does not exist, or no hidden unit.
    """
    if settings.activation not in ACTIVATIONS:
        raise ParameterError(f"activation is {settings.activation!r}; expected one of {', '.join(ACTIVATIONS)}.")
    if settings.init not in INITS:
        raise ParameterError(f"init is {settings.init!r}; expected one of {', '.join(INITS)}.")
    if settings.hidden < 1:
        raise ParameterError(f"hidden is {settings.hidden}; expected 1 or more.")
    rng = np.random.default_rng([settings.seed, 0])

    def layer(fan_in: int, shape: tuple[int, int], units: int):
        if settings.init == "torch":
            bound = fan_in**-0.5
            return rng.uniform(-bound, bound, shape), rng.uniform(-bound, bound, units)
        draw = {"uniform": lambda: rng.uniform(-0.1, 0.1, shape), "zeros": lambda: np.zeros(shape),
                "normal": lambda: rng.normal(0, 0.1, shape)}[settings.init]  # fmt: skip
        return draw(), np.zeros(units)

    w1, b1 = layer(inputs, (inputs, settings.hidden), settings.hidden)
    w2, b2 = layer(settings.hidden, (classes, settings.hidden), classes)
    return OneHidden(w1, b1, w2, b2, settings.activation)


def train(
    settings: Settings, x: np.ndarray, y: np.ndarray, x_val: np.ndarray, y_val: np.ndarray,
    start: OneHidden | None = None, keep_first: int = 0, every_step: bool = False,
) -> Course:  # fmt: skip
    """Train one network, with small batches or one example a step, and measure both sets after every epoch.

    Args:
        settings: the run.
        x, x_val: examples, (N, inputs); anything that converts to float64.
        y, y_val: labels, (N,), 0 to classes - 1.
        start: weights to start from instead of `initial(settings, ...)`; they are copied.
        keep_first: keep the losses of so many first steps.
        every_step: keep the loss of every step, and measure the validation set after each, too.

    Raises:
        DataError: examples and labels that do not fit together.
        ParameterError: unknown names, or sizes below 1.
    """
    started = time.perf_counter()
    x, y, x_val, y_val = _checked(x, y, x_val, y_val)
    if settings.optimizer not in OPTIMIZERS:
        raise ParameterError(f"optimizer is {settings.optimizer!r}; expected one of {', '.join(OPTIMIZERS)}.")
    if min(settings.epochs, settings.batch) < 1:
        raise ParameterError(f"epochs is {settings.epochs} and batch {settings.batch}; expected 1 or more of both.")
    classes = int(max(y.max(), y_val.max())) + 1
    net = initial(settings, x.shape[1], classes) if start is None else start.copy()
    if net.w1.shape[0] != x.shape[1] or net.b2.size < classes:
        raise DataError(f"The weights are for {net.w1.shape[0]} inputs and {net.b2.size} classes, "
                        f"the examples have {x.shape[1]} and {classes}.")  # fmt: skip
    rng = np.random.default_rng([settings.seed, 1])
    order = np.arange(len(y))
    ink, ink_val = _nonzero(x), _nonzero(x_val)
    weights = (net.w1, net.b1, net.w2, net.b2)
    # gradients of a batch, and Adam's two running means; a per-example run needs none of them
    gradients, first, second = (tuple(np.zeros_like(w) for w in weights) for _ in range(3))
    accuracy, each = np.empty((settings.epochs, 2)), np.empty(len(y))
    train_loss, val_losses = np.empty(settings.epochs), np.empty((settings.epochs, len(y_val)))
    kind, adam, steps = ACTIVATIONS.index(net.activation), settings.optimizer == "adam", 0
    step_loss: list[float] = []
    val_loss_steps: list[float] = []
    for epoch in range(settings.epochs):
        if settings.shuffle:
            order = rng.permutation(len(y))
        # steps one by one where their losses are to be told; then the rest of the epoch at once
        alone = -(-len(y) // settings.batch)
        if not every_step:
            alone = min(keep_first, alone) if epoch == 0 else 0
        edges = [k * settings.batch for k in range(alone + 1)]
        after_steps = []
        for k, some in enumerate([*(order[a:b] for a, b in pairwise(edges)), order[edges[-1] :]]):
            if k < alone:
                step_loss.append(_mean_loss(net, x[some], y[some]))
            if settings.batch == 1 and not adam:
                compiled.epoch(weights, *ink, y, some, settings.lr, settings.l2, kind)
            else:
                steps = compiled.epoch_of_batches(weights, gradients, first, second, *ink, y, some, settings.batch,
                                          settings.lr, settings.l2, kind, adam, steps)  # fmt: skip
            if every_step and k < alone:
                compiled.evaluate(weights, *ink_val, y_val, kind, val_losses[epoch])
                after_steps.append(val_losses[epoch].mean())
        accuracy[epoch, 0] = compiled.evaluate(weights, *ink, y, kind, each)
        train_loss[epoch] = each.mean()
        accuracy[epoch, 1] = compiled.evaluate(weights, *ink_val, y_val, kind, val_losses[epoch])
        if every_step:
            val_loss_steps.append(float(np.mean(after_steps)))
    # pixels with ink are multiplied twice, forward and for their gradient; the second layer has three products
    operations.add(settings.epochs * settings.hidden * (4 * int(np.count_nonzero(x)) + 6 * len(y) * classes))
    return Course(train_loss, val_losses.mean(1), accuracy[:, 0], accuracy[:, 1], val_losses, net, step_loss,
                  val_loss_steps, time.perf_counter() - started)  # fmt: skip


def train_all(
    runs: Sequence[Settings], x: np.ndarray, y: np.ndarray, x_val: np.ndarray, y_val: np.ndarray,
    threads: int | None = None, progress: str | None = None, keep_first: int = 0, every_step: bool = False,
) -> list[Course]:  # fmt: skip
    """Train all `runs` side by side, the largest first, and return their courses in the order given.

    The loop lets go of Python's lock, so that threads are enough. A run's numbers do not depend on
    what runs beside it.

    Args:
        runs: the settings of each.
        x, y, x_val, y_val: as for `train`.
        threads: how many at once; by default the cores that this process may use.
        progress: label of a plain progress bar; None shows none.
        keep_first, every_step: as for `train`.
    """
    data = _checked(x, y, x_val, y_val)
    threads = threads or usable_cores()
    costly_first = sorted(range(len(runs)), key=lambda i: -runs[i].hidden * runs[i].epochs)
    with ThreadPoolExecutor(max(1, threads)) as pool:
        waiting = {pool.submit(train, runs[i], *data, None, keep_first, every_step): i for i in costly_first}
        done = tqdm(as_completed(waiting), progress, len(runs), disable=progress is None, mininterval=5, ncols=80)
        courses = {waiting[run]: run.result() for run in done}
    return [courses[i] for i in range(len(runs))]


def usable_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def evaluate(net: OneHidden, x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Return mean cross-entropy and accuracy (0..1) of a network on examples (N, inputs) and labels (N,)."""
    x, y, _, _ = _checked(x, y, x, y)
    each = np.empty(len(y))
    weights, kind = (net.w1, net.b1, net.w2, net.b2), ACTIVATIONS.index(net.activation)
    accuracy = compiled.evaluate(weights, *_nonzero(x), y, kind, each)
    return float(each.mean()), accuracy


def _mean_loss(net: OneHidden, x: np.ndarray, y: np.ndarray) -> float:
    scores = net.scores(x)
    top = scores.max(1)
    return float(np.mean(np.log(np.exp(scores - top[:, None]).sum(1)) + top - scores[np.arange(len(y)), y]))


def _checked(x, y, x_val, y_val):
    x, x_val = (np.ascontiguousarray(a, dtype=np.float64) for a in (x, x_val))
    y, y_val = (np.ascontiguousarray(a, dtype=np.int64) for a in (y, y_val))
    for a, b, name in ((x, y, "training"), (x_val, y_val, "validation")):
        if a.ndim != 2 or len(a) != len(b) or not len(b):
            raise DataError(f"The {name} set has examples of shape {a.shape} and {len(b)} labels; "
                            "expected (N, inputs) and N, at least one.")  # fmt: skip
        if b.min() < 0:
            raise DataError(f"The {name} set has a label {b.min()}; expected 0 or more.")
    if x.shape[1] != x_val.shape[1]:
        raise DataError(f"Training examples have {x.shape[1]} values, validation examples {x_val.shape[1]}.")
    return x, y, x_val, y_val


def _nonzero(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return where each row begins (N + 1,), and columns and values of all non-zero inputs, row after row.

    Three quarters of a letter's pixels are paper and add nothing, neither forwards nor to a gradient.
    """
    rows, columns = np.nonzero(x)
    return np.searchsorted(rows, np.arange(len(x) + 1)), columns, x[rows, columns]
