"""Optimizers by hand: each changes a list of arrays in place, given the arrays of their gradients."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .network import Array


@dataclass
class SGD:
    """Stochastic gradient descent, w ← w - lr (dL/dw + weight_decay w), with PyTorch's momentum where asked for."""

    lr: float = 0.1
    momentum: float = 0.0
    weight_decay: float = 0.0
    slots: list[Array] = field(default_factory=list, repr=False)

    def step(self, parameters: list[Array], gradients: list[Array]) -> None:
        """Change `parameters` in place."""
        if self.momentum and not self.slots:
            self.slots = [np.zeros_like(p) for p in parameters]
        for k, (p, g) in enumerate(zip(parameters, gradients, strict=True)):
            if self.weight_decay:
                g = g + self.weight_decay * p
            if self.momentum:
                self.slots[k] *= self.momentum
                self.slots[k] += g
                g = self.slots[k]
            p -= self.lr * g


@dataclass
class Adam:
    """Kingma and Ba's Adam, with PyTorch's defaults; weight decay is added to the gradient, as there."""

    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    steps: int = 0
    slots: list[Array] = field(default_factory=list, repr=False)

    def step(self, parameters: list[Array], gradients: list[Array]) -> None:
        """Change `parameters` in place."""
        self.slots = self.slots or [np.zeros_like(p) for p in parameters for _ in range(2)]
        self.steps += 1
        (b1, b2), t = self.betas, self.steps
        for p, g, m, v in zip(parameters, gradients, self.slots[::2], self.slots[1::2], strict=True):
            if self.weight_decay:
                g = g + self.weight_decay * p
            m *= b1
            m += (1 - b1) * g
            v *= b2
            v += (1 - b2) * g * g
            p -= self.lr / (1 - b1**t) * m / (np.sqrt(v / (1 - b2**t)) + self.eps)
