"""Softmax regression by hand, gradients summed over a batch and cut to a length, as in the code of report A1."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

Examples = tuple[Tensor, Tensor]


@dataclass
class Descent:
    """Softmax regression on the way down.

    Attributes:
        W: weights (D, classes).
        b: biases (classes,).
        at: iterations after which the sets were measured.
        loss: mean cross-entropy at these, by set; of `batch`, the batch about to be learned from.
        accuracy: in %, the same.
    """

    W: Tensor
    b: Tensor
    at: list[int]
    loss: dict[str, list[float]]
    accuracy: dict[str, list[float]]


def descend_softmax(
    train: Examples, watched: Mapping[str, Examples], *, iterations: int, batch: int, lr: float = 1e-3,
    l2: float = 0.1, clip: float | None = 4.0, summed: bool = True, every: int = 10, seed: int = 0,
) -> Descent:  # fmt: skip
    """Train softmax regression by stochastic gradient descent, each batch drawn anew from the whole set.

    Weights begin normal with a variance of one over the number of features, biases at zero. With `summed` the
    weights' gradient is the sum over the batch while the biases' is the mean; both get `l2` times their own value,
    and are shortened together to a length of `clip`, which with a sum is nearly always.

    Args:
        train: features (N, D), labels (N,).
        watched: sets measured at the start and after every `every` iterations.
        iterations: steps.
        batch: examples a step, each at most once in a batch; all of them where there are fewer.
        lr: length of a step for a gradient of length one.
        l2: weight of the penalty's gradient.
        clip: greatest length of the whole gradient; None for none.
        summed: whether the weights' gradient is a sum over the batch, or a mean.
        every: iterations between two measurements.
        seed: of weights and batches.
    """
    x, y = train
    classes, batch = int(y.max()) + 1, min(batch, len(y))
    g = torch.Generator().manual_seed(seed)
    W = (torch.randn(x.shape[1], classes, generator=g, dtype=x.dtype) / x.shape[1] ** 0.5).to(x.device)
    b = torch.zeros(classes, dtype=x.dtype, device=x.device)
    sets = [*watched, "batch"]
    found = Descent(W, b, [], {name: [] for name in sets}, {name: [] for name in sets})
    for i in range(iterations + 1):
        index = torch.randperm(len(y), generator=g)[:batch].to(x.device)
        part = x[index], y[index]
        if i % every == 0:
            found.at.append(i)
            for name, (inputs, labels) in {**watched, "batch": part}.items():
                scores = inputs @ W + b
                found.loss[name].append(float(F.cross_entropy(scores, labels)))
                found.accuracy[name].append(100 * float((scores.argmax(1) == labels).double().mean()))
        if i == iterations:
            break
        wrong = torch.softmax(part[0] @ W + b, 1) - F.one_hot(part[1], classes)
        dW = part[0].T @ wrong / (1 if summed else len(index)) + l2 * W
        db = wrong.mean(0) + l2 * b
        norm = (dW.square().sum() + db.square().sum()).sqrt()
        shrink = torch.clamp(clip / norm, max=1.0) if clip else 1.0
        W -= lr * shrink * dW
        b -= lr * shrink * db
    return found
