"""Gradients compared with central differences: the test of every backward pass."""

from __future__ import annotations

import numpy as np
from numpy.random import default_rng

from ..errors import ParameterError
from .network import Array, Network, cross_entropy


def gradient_check(network: Network, x: Array, y: Array, at_most: int = 200, seed: int = 0) -> float:
    """Return the largest relative error of the network's gradients against central differences.

    Dropout keeps one mask throughout. An error is `|a - n| / max(|a|, |n|, g)` where `g` is a hundredth of the
    array's largest gradient, the better one of steps of 1e-5, which rarely cross a kink of ReLU, and of 1e-4,
    which suffer less from rounding.

    Args:
        network: float64, or a `ParameterError` says so; its weights come back unchanged.
        x, y: a few examples.
        at_most: weights tried in each array, drawn at random.
        seed: of that draw and of the dropout masks.
    """
    if network.dtype != np.float64:
        raise ParameterError(f"A gradient check needs a float64 network; this one is {network.dtype}.")

    def loss() -> float:
        network.reseed(seed)
        return cross_entropy(network.forward(x, training=True), y)[0] + network.penalty()

    network.reseed(seed)
    network.loss(x, y)
    worst, rng = 0.0, default_rng(seed)
    for p, gradient in zip(network.parameters, [g.copy() for g in network.gradients], strict=True):
        floor = max(1e-2 * float(np.abs(gradient).max()), 1e-12)
        for at in rng.permutation(p.size)[:at_most]:
            at, kept = np.unravel_index(at, p.shape), p.flat[at]
            errors, a = [], gradient[at]
            for step in (1e-5, 1e-4):
                p[at] = kept + step
                up = loss()
                p[at] = kept - step
                n = (up - loss()) / (2 * step)
                errors.append(abs(a - n) / max(abs(a), abs(n), floor))
            p[at] = kept
            worst = max(worst, min(errors))
    return float(worst)
