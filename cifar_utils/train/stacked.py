"""Many small fully connected networks trained at once: one batched product where a loop would make M.

A network of the worksheets' size is so small that a step of it is mostly waiting: for Python, for
the launch of one kernel after the other. M networks of one shape are therefore kept as stacked
weights (M, out, in), and one step trains them all, each with its own seed, learning rate, weight
decay and order of examples. The networks never exchange anything: the sum of their losses has, for
every weight, the gradient of its own network's loss alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from itertools import islice, pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .. import operations
from ..data.batches import edges
from ..data.sets import Split, channel_stats
from ..device import float64_device
from ..errors import ParameterError
from .loop import EXPLODED, History, seed_everything

#: Layers that act on every value alone, so that a stack of networks passes through them unchanged.
ELEMENTWISE = (
    nn.Identity, nn.ReLU, nn.LeakyReLU, nn.ELU, nn.SELU, nn.GELU, nn.SiLU, nn.Tanh, nn.Sigmoid, nn.Softplus,
    nn.Dropout,
)  # fmt: skip

#: The loss of every example, of scores (n, classes) and labels (n,).
Losses = Callable[[Tensor, Tensor], Tensor]
cross_entropy: Losses = partial(F.cross_entropy, reduction="none")

#: Scores of how many examples are held at once when a set is evaluated, over all networks.
EVALUATED_AT_ONCE = 40_000


class Stack(nn.Module):
    """M networks of linear and element-wise layers with their weights stacked.

    Args:
        members: networks of one architecture, each an `nn.Sequential`; their weights are copied.

    Raises:
        ParameterError: no network, a layer that cannot be stacked, networks of different shapes.
    """

    def __init__(self, members: Sequence[nn.Sequential]):
        super().__init__()
        if not members:
            raise ParameterError("There is no network to stack; expected one or more.")
        self.size = len(members)
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        self.layers: list[nn.Module | int] = []  # a number stands for that linear layer
        for column in zip(*members, strict=True):
            first = column[0]
            if isinstance(first, nn.Linear):
                if first.bias is None or any(c.weight.shape != first.weight.shape for c in column):
                    raise ParameterError("Linear layers of a sweep need a bias and one shape in all networks.")
                self.layers.append(len(self.weights))
                self.weights.append(torch.stack([c.weight.detach() for c in column]))
                self.biases.append(torch.stack([c.bias.detach() for c in column]))
            elif isinstance(first, ELEMENTWISE):
                self.layers.append(first)
            elif not isinstance(first, nn.Flatten):  # inputs come flattened
                raise ParameterError(f"A sweep cannot hold a {type(first).__name__}; expected Linear, Flatten or "
                                     f"one of {', '.join(k.__name__ for k in ELEMENTWISE)}.")  # fmt: skip
        if not self.layers or self.layers[0] != 0:
            raise ParameterError("The first layer of a network in a sweep must be Linear.")
        self._template = (members[0],)  # in a tuple, so that its weights are not counted among ours

    def forward(self, x: Tensor) -> Tensor:
        """Return scores (M, B, classes) of examples (B, features), the same for all, or (M, B, features)."""
        for layer in self.layers:
            if isinstance(layer, nn.Module):
                x = layer.train(self.training)(x)
            elif x.dim() == 2:  # the examples are shared: one product with all first layers side by side
                weight, bias = self.weights[layer], self.biases[layer]
                x = F.linear(x, weight.flatten(0, 1), bias.flatten())
                x = x.view(len(x), self.size, -1).transpose(0, 1)
            else:
                x = torch.baddbmm(self.biases[layer].unsqueeze(1), x, self.weights[layer].transpose(1, 2))
        return x

    def member(self, index: int) -> nn.Sequential:
        """Return network `index` alone, with a copy of its weights."""
        alone = deepcopy(self._template[0]).to(self.weights[0].device)
        linear = [layer for layer in alone if isinstance(layer, nn.Linear)]
        with torch.no_grad():
            for layer, weight, bias in zip(linear, self.weights, self.biases, strict=True):
                layer.weight.copy_(weight[index])
                layer.bias.copy_(bias[index])
        return alone.train(self.training)


@dataclass
class Sweep:
    """What `fit` returns: `histories[m]` and `networks.member(m)` belong to network m.

    Attributes:
        histories: one `train.History` a network, as its run alone would have left; `seconds` is the
            time of all together.
        networks: the trained stack.
        seconds: wall-clock time of the whole sweep, in seconds.
    """

    histories: list[History]
    networks: Stack
    seconds: float


def fit(
    build: Callable[[], nn.Sequential],
    split: Split,
    *,
    seeds: Sequence[int],
    lr: float | Sequence[float],
    batch_size: int,
    epochs: int,
    weight_decay: float | Sequence[float] = 0.0,
    momentum: float = 0.0,
    order: str | int = "own",
    evaluate_on: dict[str, Split] | None = None,
    losses: Losses = cross_entropy,
    every_step: bool = False,
    keep_first: int = 0,
    steps: int | None = None,
) -> Sweep:
    """Train one network for each of `seeds`, all at once, by stochastic gradient descent.

    Every network starts and goes on as it would alone, with `train.seed_everything(seed)`, `build()`,
    `train.training_batches(split, batch_size, seed=seed)`, `torch.optim.SGD` and `train.fit`: the same
    weights and order of examples, and the same losses up to rounding. (Dropout draws other numbers.)

    Args:
        build: makes one network, drawing its weights from PyTorch's global generator.
        split: training examples, float32 (N, D), or uint8 images, which are standardised by channel.
        seeds: one an entry for each network; they need not differ (other rates from the same start).
        lr, weight_decay: one for all, or one for each network.
        batch_size: examples a step, for each network; what is left for the last is divided by `batches.edges`.
        epochs: passes over the split.
        momentum: of stochastic gradient descent, 0 for none.
        order: `own` shuffles for each network by its seed; `shared` gives all networks the batches of
            the first seed, and a number those of that seed, which makes the first layers one product.
        evaluate_on: sets to measure after every epoch, by name.
        losses: of scores (n, classes) and labels (n,), one loss an example.
        every_step: keep the loss of every step in the histories.
        keep_first: keep the losses of so many first steps in any case.
        steps: stop after so many, instead of after `epochs`.

    Returns:
        The histories and the networks. A network whose loss explodes has the outcome `diverged`, its
        history ends there, and the others are not touched by it.

    Raises:
        ParameterError: numbers of seeds, rates and decays that do not match, or an unknown `order`.
    """
    if order not in ("own", "shared") and not isinstance(order, int):
        raise ParameterError(f"order is {order!r}; expected 'own', 'shared' or a seed.")
    if epochs < 1 or not 1 <= batch_size:
        raise ParameterError(f"epochs is {epochs} and batch_size {batch_size}; expected 1 or more of both.")
    started, device = time.perf_counter(), split.x.device
    networks = Stack([_seeded(build, seed) for seed in seeds]).to(device)
    rates = _one_each("lr", lr, len(seeds))
    decays = _one_each("weight_decay", weight_decay, len(seeds))
    step = _descent(networks, rates, decays, momentum)
    examples = _Examples(split)
    held_out = {name: _Examples(s, like=examples) for name, s in (evaluate_on or {}).items()}
    shuffled_by = seeds if order == "own" else seeds[:1] if order == "shared" else [int(order)]
    generators = [torch.Generator(device).manual_seed(seed) for seed in shuffled_by]
    histories, places = [History() for _ in seeds], edges(len(split), batch_size)
    cost, taken = operations.StepCounter(), 0
    epochs = epochs if steps is None else -(-steps // (len(places) - 1))

    while any(h.outcome == "running" for h in histories):
        networks.train()
        shuffled = torch.stack([torch.randperm(len(split), generator=g, device=device) for g in generators])
        total, kept, seen, before = torch.zeros(2, len(seeds), device=device), [], 0, taken
        for start, stop in islice(pairwise(places), None if steps is None else steps - taken):
            index = shuffled[:, start:stop]
            x, y = examples.take(index if order == "own" else index[0])
            with cost.step(y.shape[-1]):
                scores = networks(x)
                each = _each_mean(losses, scores, y)
                step(each.sum())
            with torch.no_grad():
                size = y.shape[-1]
                total += torch.stack([each * size, (scores.argmax(2) == y).sum(1)])
            if every_step or taken < keep_first:
                kept.append(each.detach())
            taken, seen = taken + 1, seen + size
        found = {name: _evaluate(networks, s, losses) for name, s in held_out.items()}
        seconds = time.perf_counter() - started
        means, losses_kept = (total / seen).tolist(), torch.stack(kept, 1).tolist() if kept else None
        for m, history in enumerate(histories):
            if history.outcome == "running":
                _note(history, m, means, found, losses_kept, rates[m], epochs)
                history.iterations += taken - before
                history.seconds = seconds
    operations.add(cost.count)
    return Sweep(histories, networks.eval(), time.perf_counter() - started)


class _Examples:
    """A split flattened to (N, D); uint8 images stay bytes and are standardised when taken."""

    def __init__(self, split: Split, like: _Examples | None = None):
        self.x, self.y = split.x.flatten(1), split.y
        self.shift: Tensor | None = None
        self.scale: Tensor | None = None
        if like is not None:
            self.shift, self.scale = like.shift, like.scale
        elif split.x.dtype == torch.uint8:
            mean, std = channel_stats(split)
            pixels = self.x.shape[1] // len(mean)
            self.shift = (255 * mean).repeat_interleave(pixels).to(self.x.device)
            self.scale = (1 / (255 * std)).repeat_interleave(pixels).to(self.x.device)

    def take(self, index: Tensor | slice) -> tuple[Tensor, Tensor]:
        """Return inputs (..., D), float32, and labels (...) at `index`."""
        x = self.x[index]
        if self.shift is not None and self.scale is not None:
            x = x.float().sub_(self.shift).mul_(self.scale)
        return x, self.y[index]


def _seeded(build: Callable[[], nn.Sequential], seed: int) -> nn.Sequential:
    seed_everything(seed)
    return build()


def _one_each(name: str, value: float | Sequence[float], count: int) -> list[float]:
    values = [float(value)] * count if isinstance(value, (int, float)) else [float(v) for v in value]
    if len(values) != count:
        raise ParameterError(f"{name} has {len(values)} values for {count} seeds; expected one, or one for each.")
    return values


def _descent(networks: Stack, rates: list[float], decays: list[float], momentum: float) -> Callable[[Tensor], None]:
    """Return a function that makes one step of SGD, as `torch.optim.SGD` does, down the sum of the losses."""
    parameters = list(networks.parameters())
    spread = lambda values, p: torch.tensor(values, device=p.device).view(-1, *[1] * (p.dim() - 1))  # noqa: E731
    minus_rate = [-spread(rates, p) for p in parameters]
    decay = [spread(decays, p) for p in parameters] if any(decays) else None
    velocity: list[Tensor] = []

    def step(loss: Tensor) -> None:
        nonlocal velocity
        gradients = torch.autograd.grad(loss, parameters)
        with torch.no_grad():
            if decay is not None:
                gradients = [g.addcmul_(p, d) for g, p, d in zip(gradients, parameters, decay, strict=True)]
            if momentum:
                velocity = [v.mul_(momentum).add_(g) for v, g in zip(velocity, gradients, strict=True)] if velocity \
                    else [g.clone() for g in gradients]  # fmt: skip
                gradients = velocity
            for p, g, r in zip(parameters, gradients, minus_rate, strict=True):
                p.addcmul_(g, r)

    return step


def _each_mean(losses: Losses, scores: Tensor, y: Tensor) -> Tensor:
    """Return the mean loss (M,) of each network from scores (M, B, classes) and labels (B,) or (M, B)."""
    labels = y.expand(scores.shape[:2])
    return losses(scores.flatten(0, 1), labels.flatten()).view(labels.shape).mean(1)


def evaluate(
    networks: Stack, split: Split, trained_on: Split, losses: Losses = cross_entropy
) -> tuple[list[float], list[float], Tensor]:
    """Return mean losses and accuracies (0..1) of networks on a split, and its scores (M, N, classes).

    Scores are float16, on the CPU. Images are standardised by the split that the networks were trained on.
    """
    scores: list[Tensor] = []
    mean, accuracy = _evaluate(networks, _Examples(split, like=_Examples(trained_on)), losses, scores)
    return mean, accuracy, torch.cat(scores, 1)


@torch.no_grad()
def _evaluate(
    networks: Stack, examples: _Examples, losses: Losses, keep: list[Tensor] | None = None
) -> tuple[list[float], list[float]]:
    """Return mean loss and accuracy (0..1) of each network on `examples`; put the scores into `keep`."""
    networks.eval()
    count, where = len(examples.y), float64_device(examples.y.device)
    total = torch.zeros(2, networks.size, dtype=torch.float64, device=where)
    places = [*range(0, count, max(1, EVALUATED_AT_ONCE // networks.size)), count]
    for start, stop in pairwise(places):
        x, y = examples.take(slice(start, stop))
        scores = networks(x)
        total += torch.stack([_each_mean(losses, scores, y) * len(y), (scores.argmax(2) == y).sum(1)]).to(where)
        if keep is not None:
            keep.append(scores.to("cpu", torch.float16))
    return tuple((total / count).tolist())


def _note(history: History, m: int, means, found: dict, steps, rate: float, epochs: int) -> None:
    """Append network m's epoch to its history."""
    history.train_loss.append(means[0][m])
    history.train_accuracy.append(means[1][m])
    history.lr.append(rate)
    for name, (loss, accuracy) in found.items():
        history.add(name, loss[m], accuracy[m])
    if steps:
        history.step_loss += steps[m]
    seen = [means[0][m], *(loss[m] for loss, _ in found.values())]
    if any(not value <= EXPLODED for value in seen):  # also true of NaN
        history.outcome = "diverged"
    elif history.epochs == epochs:
        history.outcome = "finished"
