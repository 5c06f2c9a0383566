"""What mean-field theory expects of gradients on their way back through many layers."""

from __future__ import annotations

import math

import numpy as np
import torch

from ..errors import ParameterError
from ..models.deep import ACTIVATIONS, INITS, WIDTHS


def expected_factors(activation: str, init: str, layers: int, second_moment: float = 1.0) -> np.ndarray:
    """Return by what factor the gradient shrinks on its way back through each of many equal layers.

    The mean-field argument of :cite:t:`glorot2010understanding` and :cite:t:`he2015delving`, for layers of
    as many outputs as inputs, wide and without normalisation: the variance q of the values before an
    activation goes from layer to layer by `q -> var_w E[a(z)^2] + var_b`, with z normal of variance q, and
    the squared gradient by `var_w E[a'(z)^2]`, which is the mean square of the layer's Jacobian matrix.

    Args:
        activation, init: names as in `Setting`.
        layers: how many factors.
        second_moment: mean square of the values that enter the first of the layers.

    Returns:
        Factors of the root mean square gradient, float64 (layers,), from the first layer on.
    """
    if activation not in ACTIVATIONS or init not in INITS:
        raise ParameterError(f"{activation!r} with {init!r}: expected an activation of {', '.join(ACTIVATIONS)} "
                             f"and an init of {', '.join(INITS)}.")  # fmt: skip
    # variances of weight times number of inputs, and of the bias; 1 / (3 inputs) is small but not zero
    var_w = {"default": 1 / 3, "xavier": 1.0, "he": 2.0, "lecun": 1.0}[init]
    var_b = 1 / (3 * WIDTHS[-1]) if init == "default" else 0.0
    nodes, weights = np.polynomial.hermite_e.hermegauss(200)  # even: no node on the kink of ReLU at zero
    weights = weights / math.sqrt(2 * math.pi)
    factors, moment = [], second_moment
    for _ in range(layers):
        q = var_w * moment + var_b
        z = torch.tensor(math.sqrt(q) * nodes, requires_grad=True)
        value = ACTIVATIONS[activation](z)
        (slope,) = torch.autograd.grad(value.sum(), z)
        moment = float(weights @ value.detach().numpy() ** 2)
        factors.append(math.sqrt(var_w * float(weights @ slope.numpy() ** 2)))
    return np.array(factors)
