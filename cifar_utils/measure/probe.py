"""A linear classifier on fixed features: what a network's layer makes linearly separable."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import ParameterError


@dataclass(frozen=True)
class Probe:
    """A linear classifier on standardised features.

    Attributes:
        weight: float32 (classes, D), bias: float32 (classes,).
        mean, std: float32 (D,), of the features it was trained on.
        penalty: the strength of L2 regularisation that was chosen.
        val_accuracy: share of the examples set aside for that choice, 0..1.
    """

    weight: Tensor
    bias: Tensor
    mean: Tensor
    std: Tensor
    penalty: float
    val_accuracy: float

    def predict(self, features: Tensor) -> Tensor:
        """Return labels (N,) of features (N, D)."""
        return F.linear((features - self.mean) / self.std, self.weight, self.bias).argmax(1)


def linear_probe(
    features: Tensor, y: Tensor, penalties: tuple[float, ...] = (1e-3, 1e-2, 1e-1), held_out: float = 0.2,
    steps: int = 60, seed: int = 0,
) -> Probe:  # fmt: skip
    """Train softmax regression with L2 regularisation; its strength is chosen on examples set aside.

    Args:
        features: float32 (N, D); constant ones are harmless.
        y: labels, int64 (N,).
        penalties: strengths to try: the loss is the mean cross-entropy plus `penalty / 2 * |weight|^2`.
        held_out: share of the examples set aside. They are not trained on afterwards either.
        steps: iterations of L-BFGS; every strength starts from the weights of the one before, largest first.
        seed: which examples are set aside.

    Raises:
        ParameterError: fewer than two examples a part, or no penalty.
    """
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(y), generator=generator).to(y.device)
    aside = int(held_out * len(y))
    if aside < 2 or len(y) - aside < 2:
        raise ParameterError(f"Cannot set {aside} of {len(y)} examples aside; expected two or more in both parts.")
    val, fit = order[:aside], order[aside:]
    mean, std = features[fit].mean(0), features[fit].std(0).clamp_min(1e-6)
    x = (features - mean) / std
    x_fit, y_fit, classes, width = x[fit], y[fit], int(y.max()) + 1, x.shape[1]
    weight = torch.zeros(classes, width, device=x.device, requires_grad=True)
    bias = torch.zeros(classes, device=x.device, requires_grad=True)
    best = None
    for penalty in sorted(penalties, reverse=True):
        optimizer = torch.optim.LBFGS([weight, bias], max_iter=steps, history_size=10, line_search_fn="strong_wolfe")

        def loss(penalty=penalty, optimizer=optimizer):
            optimizer.zero_grad()
            value = F.cross_entropy(F.linear(x_fit, weight, bias), y_fit) + penalty / 2 * weight.square().sum()
            value.backward()
            return value

        optimizer.step(loss)
        with torch.no_grad():
            accuracy = float((F.linear(x[val], weight, bias).argmax(1) == y[val]).float().mean())
            if best is None or accuracy > best.val_accuracy:
                best = Probe(weight.detach().clone(), bias.detach().clone(), mean, std, penalty, accuracy)
    if best is None:
        raise ParameterError("There are no penalties to try; expected one or more.")
    return best
