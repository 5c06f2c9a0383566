"""Deep networks of one depth trained at once, with the norm of every layer's gradient and of every step.

As in `stacked`, the weights of M networks are stacked, and the sum of their losses has, for every weight,
the gradient of its own network's loss alone. Here a network may have its own activation,
initialisation, normalisation and residual connections; what works on each value or each unit alone is
done for a block of equal networks in one call. Networks of one seed see the same batches, so that
settings can be compared seed by seed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from itertools import groupby, pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from .. import operations
from ..data.batches import edges
from ..data.sets import Split
from ..device import float64_device
from ..errors import ParameterError
from ..models.deep import ACTIVATIONS, EPSILON, WIDTHS, DeepNetwork, Setting
from . import checkpoint as ckpt
from .loop import seed_everything

#: Layers with as many inputs as this are multiplied in a shorter number format where a run asks for it.
WIDE = 512

#: Scores of how many examples are held at once when a set is evaluated, over all networks.
EVALUATED_AT_ONCE = 10_000


class DeepStack(nn.Module):
    """K settings times S seeds as one module; network (k, s) is number k * S + s wherever they are in a row.

    Values are laid out features first, (M, features, B): batch normalisation of the stack is then
    that of M * features channels.

    Args:
        settings: of one depth; equal activations and norms are fastest next to each other.
        seeds: each network is drawn by `DeepNetwork` after `train.seed_everything(seed)`.
        inputs, classes, widths: as for `DeepNetwork`.
        autocast: `torch.bfloat16` to multiply the wide layers in it (five times as fast on a CPU that can).

    Raises:
        ParameterError: no setting or seed, or settings of different depth.
    """

    def __init__(
        self, settings: Sequence[Setting], seeds: Sequence[int], inputs: int = 3072, classes: int = 10,
        widths: tuple[int, ...] = WIDTHS, autocast: torch.dtype | None = None,
    ):  # fmt: skip
        super().__init__()
        self.settings, self.seeds, self.autocast = list(settings), list(seeds), autocast
        if not self.settings or not self.seeds:
            raise ParameterError("There is no network to stack; expected one or more settings and seeds.")
        if len({s.extra for s in self.settings}) > 1:
            raise ParameterError("A stack needs networks of one depth; their settings differ in 'extra'.")
        self.size, self.plain, self.inputs = len(self.settings) * len(self.seeds), len(widths), inputs
        self.layers = self.plain + self.settings[0].extra + 1
        for depth in range(self.layers):
            fan_in, fan_out = [inputs, *widths, *[widths[-1]] * self.settings[0].extra, classes][depth : depth + 2]
            self.register_parameter(f"weight{depth}", nn.Parameter(torch.empty(self.size, fan_out, fan_in)))
            self.register_parameter(f"bias{depth}", nn.Parameter(torch.empty(self.size, fan_out, 1)))
        self.blocks = [(norm, list(block)) for norm, block in groupby(self.settings, lambda s: s.norm)]
        for depth in range(self.layers - 1):
            width = self.weight(depth).shape[1]
            for index, (norm, block) in enumerate(self.blocks):
                if norm == "none":
                    continue
                count = len(block) * len(self.seeds) * width
                self.register_parameter(f"scale{depth}_{index}", nn.Parameter(torch.ones(count)))
                self.register_parameter(f"shift{depth}_{index}", nn.Parameter(torch.zeros(count)))
                if norm == "batch":
                    self.register_buffer(f"mean{depth}_{index}", torch.zeros(count))
                    self.register_buffer(f"var{depth}_{index}", torch.ones(count))
        kept = [float(s.residual) for s in self.settings for _ in self.seeds]
        self.residual: Tensor
        self.register_buffer("residual", torch.tensor(kept).view(-1, 1, 1), persistent=False)
        self.any_residual = any(kept)
        self._draw(inputs, classes, widths)

    @torch.no_grad()
    def _draw(self, inputs: int, classes: int, widths: tuple[int, ...]) -> None:
        for k, setting in enumerate(self.settings):
            for s, seed in enumerate(self.seeds):
                seed_everything(seed)
                alone = DeepNetwork(setting, inputs, classes, widths)
                linear = [layer for layer in alone.linear if isinstance(layer, nn.Linear)]
                for depth, layer in enumerate(linear):
                    self.weight(depth)[k * len(self.seeds) + s] = layer.weight
                    self.bias(depth)[k * len(self.seeds) + s] = layer.bias[:, None]

    def weight(self, depth: int) -> Tensor:
        """Return all weights (M, out, in) of layer `depth`, 0 for the first."""
        return getattr(self, f"weight{depth}")

    def bias(self, depth: int) -> Tensor:
        """Return all biases (M, out, 1) of layer `depth`."""
        return getattr(self, f"bias{depth}")

    def forward(self, x: Tensor) -> Tensor:
        """Return scores (M, classes, B) of examples (S, B, features), one batch for each seed."""
        if self.autocast and self.inputs >= WIDE:
            x = x.to(self.autocast)
        x = x.repeat(len(self.settings), 1, 1).transpose(1, 2)
        for depth in range(self.layers - 1):
            h = self._hidden(depth, self._product(depth, x))
            x = torch.addcmul(h, x, self.residual) if self.any_residual and depth >= self.plain else h
        return self._product(self.layers - 1, x)

    def _product(self, depth: int, x: Tensor) -> Tensor:
        weight, bias = self.weight(depth), self.bias(depth)
        if self.autocast and weight.shape[2] >= WIDE:
            return torch.bmm(weight.to(self.autocast), x.to(self.autocast)).to(weight.dtype) + bias
        return torch.baddbmm(bias, weight, x)

    def _normalise(self, depth: int, z: Tensor) -> Tensor:
        if all(norm == "none" for norm, _ in self.blocks):
            return z
        parts, start = [], 0
        for index, (norm, block) in enumerate(self.blocks):
            part = z[start : start + len(block) * len(self.seeds)]
            start += len(part)
            if norm != "none":
                scale, shift = (getattr(self, f"{n}{depth}_{index}") for n in ("scale", "shift"))
            if norm == "batch":
                channels = part.reshape(1, -1, z.shape[2])
                mean, var = (getattr(self, f"{n}{depth}_{index}") for n in ("mean", "var"))
                done = F.batch_norm(channels, mean, var, scale, shift, self.training, eps=EPSILON)
                part = done.view_as(part)
            elif norm == "layer":
                var, mean = torch.var_mean(part, dim=1, correction=0, keepdim=True)
                part = (part - mean) * torch.rsqrt(var + EPSILON)
                part = part * scale.view(len(part), -1, 1) + shift.view(len(part), -1, 1)
            parts.append(part)
        return torch.cat(parts)

    def _hidden(self, depth: int, z: Tensor) -> Tensor:
        z, parts, start = self._normalise(depth, z), [], 0
        for activation, block in groupby(self.settings, lambda s: s.activation):
            part = z[start : start + len(list(block)) * len(self.seeds)]
            start += len(part)
            parts.append(ACTIVATIONS[activation](part))
        return torch.cat(parts)

    def loss(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean losses (M,) and scores (M, classes, B) of a batch (S, B, features), labels (S, B)."""
        scores = self(x)
        labels = y.repeat(len(self.settings), 1)
        return F.cross_entropy(scores, labels, reduction="none").mean(1), scores

    def gradient_norms(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the norm of the gradient of every weight matrix, float64 (K, S, layers), for one batch."""
        losses, _ = self.loss(x, y)
        gradients = torch.autograd.grad(losses.sum(), [self.weight(d) for d in range(self.layers)])
        return _norms(gradients).view(len(self.settings), len(self.seeds), -1)


def _norms(tensors: Sequence[Tensor]) -> Tensor:
    """Return norms (M, len(tensors)) of each network's part; in float64, since squares of 1e-20 vanish in float32."""
    where = float64_device(tensors[0].device)
    norms = [torch.linalg.vector_norm(t.flatten(1).to(where), dim=1, dtype=torch.float64) for t in tensors]
    return torch.stack(norms, 1)


@dataclass
class DeepRun:
    """What `fit` returns: NumPy arrays with axes settings, seeds, epochs, and layers or ranks where named.

    Attributes:
        train_loss, train_accuracy: running means over the epoch's own batches, (K, S, E).
        val_loss: after each epoch, (K, S, E).
        val_ranks: share of validation examples whose true class has so many better scored classes,
            (K, S, E, classes); `[..., 0]` is the accuracy and a running sum the top-n accuracy.
        test_loss, test_ranks: the same after the last epoch, (K, S) and (K, S, classes).
        gradients: mean norm of the gradient of each weight matrix over the epoch's measured steps, (K, S, E, L).
        updates: mean norm of the change that these steps made, (K, S, E, L).
        weights: norm of the weight matrices at the end of each epoch, (K, S, E, L).
        step_loss: of the first steps, (K, S, steps).
        seconds: wall-clock time.
    """

    train_loss: np.ndarray
    train_accuracy: np.ndarray
    val_loss: np.ndarray
    val_ranks: np.ndarray
    test_loss: np.ndarray
    test_ranks: np.ndarray
    gradients: np.ndarray
    updates: np.ndarray
    weights: np.ndarray
    step_loss: np.ndarray
    seconds: float

    def __getitem__(self, index: slice | Sequence[int]) -> DeepRun:
        """Return the part of the run that belongs to some settings; `seconds` stays that of all."""
        return DeepRun(**{n: getattr(self, n)[index] for n in _tables()}, seconds=self.seconds)

    @property
    def val_accuracy(self) -> np.ndarray:
        """Accuracy (0..1) on the validation examples, (K, S, E)."""
        return self.val_ranks[..., 0]

    @property
    def test_accuracy(self) -> np.ndarray:
        """Accuracy (0..1) on the test examples, (K, S)."""
        return self.test_ranks[..., 0]


def scaled(x: Tensor) -> Tensor:
    """Return bytes as float32 in -1..1, flattened from the third axis from the end: `(x / 255 - 0.5) / 0.5`."""
    return x.flatten(-3).float().mul_(2 / 255).sub_(1)


def fit(
    settings: Sequence[Setting],
    train: Split,
    val: Split,
    test: Split,
    *,
    seeds: Sequence[int],
    epochs: int,
    batch_size: int = 128,
    optimizer: Callable[[list[nn.Parameter]], torch.optim.Optimizer] | None = None,
    widths: tuple[int, ...] = WIDTHS,
    measured_steps: int = 20,
    keep_first: int = 0,
    steps: int | None = None,
    autocast: torch.dtype | None = None,
    checkpoint: Path | None = None,
    progress: str | None = None,
) -> DeepRun:
    """Train every setting with every seed, all at once, on images scaled to -1..1.

    Each network goes as it would alone: `DeepNetwork` drawn after `seed_everything(seed)`, batches in the
    order of `torch.Generator().manual_seed(seed)`, and an optimizer whose rule is one for each weight.

    Args:
        settings: of one depth.
        train, val, test: splits of uint8 images (N, C, H, W); `test` is looked at once, at the end.
        seeds: one network of every setting for each.
        epochs: passes over `train`.
        batch_size: examples a step; what is left for the last one is divided by `batches.edges`.
        optimizer: makes the optimizer from the parameters; Adam with learning rate 0.001 by default.
        widths: hidden layers before the extra ones.
        measured_steps: at how many steps of an epoch, evenly spread from the first, norms are taken.
        keep_first: keep the losses of so many first steps.
        steps: end the only epoch after so many, to compare a beginning; its other numbers mean nothing.
        autocast: see `DeepStack`.
        checkpoint: file written after every epoch; a killed run continues from it.
        progress: label of a progress bar; None shows none.

    Raises:
        ParameterError: numbers below 1, images that are not bytes, or settings that cannot be stacked.
    """
    if min(epochs, measured_steps) < 1 or batch_size < 2:
        raise ParameterError(f"epochs is {epochs}, measured_steps {measured_steps} and batch_size {batch_size}; "
                             "expected 1 or more, and 2 or more in a batch.")  # fmt: skip
    if len(train) < 2:
        raise ParameterError(f"There is {len(train)} training example; expected 2 or more.")
    if train.x.dtype != torch.uint8:
        raise ParameterError(f"Images are {train.x.dtype}; expected uint8 (N, C, H, W).")
    started, device, count = time.perf_counter(), train.x.device, len(train)
    classes = int(train.y.max()) + 1
    stack = DeepStack(settings, seeds, train.x[0].numel(), classes, widths, autocast).to(device)
    make = optimizer or (lambda parameters: torch.optim.Adam(parameters, lr=1e-3, fused=True))
    descent = make(list(stack.parameters()))
    generators = [torch.Generator(device).manual_seed(seed) for seed in seeds]
    shape, layers = (len(settings), len(seeds)), [stack.weight(d) for d in range(stack.layers)]
    places = edges(count, batch_size)
    if steps is not None:
        places, epochs = places[: steps + 1], 1
    steps = len(places) - 1
    measured = set(np.linspace(0, steps, min(measured_steps, steps), endpoint=False).astype(int).tolist())
    records: list[dict] = []
    first: list[list[float]] = []
    before, spent = _resume(checkpoint, stack, descent, generators, records, first)
    cost = operations.StepCounter(spent)

    for _ in tqdm(range(len(records), epochs), desc=progress, disable=progress is None, mininterval=5, ncols=80):
        stack.train()
        order = torch.stack([torch.randperm(count, generator=g, device=device) for g in generators])
        total = torch.zeros(2, stack.size, device=device)
        norms = torch.zeros(2, stack.size, len(layers), dtype=torch.float64, device=float64_device(device))
        for step, (start, stop) in enumerate(pairwise(places)):
            index = order[:, start:stop]
            y = train.y[index]
            descent.zero_grad(set_to_none=True)
            with cost.step(y.shape[1]):
                losses, scores = stack.loss(scaled(train.x[index]), y)
                losses.sum().backward()
            if step in measured:
                old = [w.detach().clone() for w in layers]
                norms[0] += _norms([w.grad for w in layers if w.grad is not None])
            descent.step()
            if len(first) < keep_first:
                first.append(losses.tolist())
            with torch.no_grad():
                if step in measured:
                    norms[1] += _norms([w - o for w, o in zip(layers, old, strict=True)])
                hits = (scores.argmax(1) == y.repeat(shape[0], 1)).sum(1)
                total += torch.stack([losses.detach() * y.shape[1], hits])
        loss, ranks = evaluate(stack, val)
        with torch.no_grad():
            found = {"train_loss": total[0] / count, "train_accuracy": total[1] / count, "val_loss": loss,
                     "val_ranks": ranks, "gradients": norms[0] / len(measured), "updates": norms[1] / len(measured),
                     "weights": _norms(layers)}  # fmt: skip
        records.append({name: value.tolist() for name, value in found.items()})
        told = {"records": records, "first": first, "seconds": before + time.perf_counter() - started}
        _save(checkpoint, stack, descent, generators, told | {"operations": cost.count})
    operations.add(cost.count)
    test_loss, test_ranks = evaluate(stack, test)
    kept = {}
    for name in records[0]:
        table = np.array([r[name] for r in records])  # (E, M, ...)
        kept[name] = np.moveaxis(table, 0, 1).reshape(*shape, len(records), *table.shape[2:])
    return DeepRun(**kept, test_loss=test_loss.view(shape).cpu().numpy(),
                   test_ranks=test_ranks.view(*shape, -1).cpu().numpy(),
                   step_loss=np.array(first).T.reshape(*shape, len(first)),
                   seconds=before + time.perf_counter() - started)  # fmt: skip


@torch.no_grad()
def evaluate(stack: DeepStack, split: Split) -> tuple[Tensor, Tensor]:
    """Return mean losses (M,) and shares of ranks (M, classes), as `DeepRun.val_ranks`, in evaluation mode."""
    stack.eval()
    fine = float64_device(split.y.device)
    loss, ranks = torch.zeros(2, 1, dtype=torch.float64, device=fine)
    for part in torch.arange(len(split), device=split.y.device).split(max(1, EVALUATED_AT_ONCE // stack.size)):
        x, y = scaled(split.x[part]), split.y[part]
        each, scores = stack.loss(x.expand(len(stack.seeds), *x.shape), y.expand(len(stack.seeds), -1))
        true = scores.gather(1, y.expand(stack.size, 1, -1))
        better = (~(scores < true)).sum(1) - 1  # ties count against the true class, and so does NaN
        loss = loss + each.to(fine).double() * len(y)
        ranks = ranks + F.one_hot(better, scores.shape[1]).sum(1).to(fine).double()
    return loss / len(split), ranks / len(split)


def join(runs: Sequence[DeepRun]) -> DeepRun:
    """Return runs of equal epochs and depth as one, their settings one after the other; seconds are added."""
    tables = {name: np.concatenate([getattr(run, name) for run in runs]) for name in _tables()}
    return DeepRun(**tables, seconds=sum(run.seconds for run in runs))


def _tables() -> list[str]:
    return [f.name for f in fields(DeepRun) if f.name != "seconds"]


def _save(path: Path | None, stack, descent, generators, told: dict) -> None:
    if path is not None:
        states = {str(i): g.get_state() for i, g in enumerate(generators)}
        ckpt.save(Path(path), stack, descent, states, told)


def _resume(path: Path | None, stack, descent, generators, records: list, first: list) -> tuple[float, int]:
    def restore(path: Path) -> dict:
        states, meta = ckpt.restore(path, stack, descent)
        found = {name: meta[name] for name in ("records", "first", "seconds", "operations")}
        for generator, state in zip(generators, [states[str(i)] for i in range(len(generators))], strict=True):
            generator.set_state(state)
        return found

    nothing = {"records": [], "first": [], "seconds": 0.0, "operations": 0}
    found = ckpt.resume(path, restore, stack, descent) or nothing
    records += found["records"]
    first += found["first"]
    return found["seconds"], found["operations"]
