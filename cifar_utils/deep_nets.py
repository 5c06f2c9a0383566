"""Deep fully connected networks whose gradients fade or do not, and what theory expects of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .errors import ParameterError

#: Hidden layers of the report's network (HW3, question 1); the extra layers follow the last of them.
WIDTHS = (512, 256, 128, 64, 32, 16)

ACTIVATIONS = {"sigmoid": torch.sigmoid, "tanh": torch.tanh, "relu": F.relu, "selu": F.selu}
NORMS = ("none", "batch", "layer")

#: Added to a variance before its root is taken, as in PyTorch's normalisation layers.
EPSILON = 1e-5


def _keep(layer: nn.Linear) -> None:
    """Leave PyTorch's own weights: uniform with variance 1 / (3 inputs), biases like the weights."""


def _xavier(layer: nn.Linear) -> None:
    nn.init.xavier_normal_(layer.weight)
    nn.init.zeros_(layer.bias)


def _he(layer: nn.Linear) -> None:
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    nn.init.zeros_(layer.bias)


def _lecun(layer: nn.Linear) -> None:
    nn.init.kaiming_normal_(layer.weight, nonlinearity="linear")
    nn.init.zeros_(layer.bias)


INITS = {"default": _keep, "xavier": _xavier, "he": _he, "lecun": _lecun}

#: The initialisation made for each activation: Xavier's (Glorot's), He's and LeCun's.
SUITED = {"sigmoid": "xavier", "tanh": "xavier", "relu": "he", "selu": "lecun"}


@dataclass(frozen=True)
class Setting:
    """What one network is made of.

    Attributes:
        activation: `sigmoid`, `tanh`, `relu` or `selu`, after every hidden layer.
        extra: layers of the last width to itself that follow the hidden layers.
        init: `default` (PyTorch's), `xavier`, `he` or `lecun`; the last three are normal with biases of zero.
        norm: `none`, `batch` or `layer` normalisation, between linear layer and activation.
        residual: whether every extra layer's input is added to its output.

    Raises:
        ParameterError: a name that is none of these, or a negative number of extra layers.
    """

    activation: str = "relu"
    extra: int = 0
    init: str = "default"
    norm: str = "none"
    residual: bool = False

    def __post_init__(self):
        for name, known in (("activation", ACTIVATIONS), ("init", INITS), ("norm", NORMS)):
            if (value := getattr(self, name)) not in known:
                raise ParameterError(f"{name} is {value!r}; expected one of {', '.join(known)}.")
        if self.extra < 0:
            raise ParameterError(f"extra is {self.extra}; expected 0 or more layers.")


class DeepNetwork(nn.Module):
    """One fully connected network, written to be read; `deep_stack` trains many of them at once.

    Args:
        setting: what it is made of.
        inputs: values of one example after flattening.
        classes: number of scores.
        widths: units of the hidden layers before the extra ones.
    """

    def __init__(self, setting: Setting, inputs: int = 3072, classes: int = 10, widths: tuple[int, ...] = WIDTHS):
        super().__init__()
        self.setting = setting
        self.plain = len(widths)  # the layers after these are extra ones
        sizes = [inputs, *widths, *[widths[-1]] * setting.extra, classes]
        self.linear = nn.ModuleList([nn.Linear(a, b) for a, b in pairwise(sizes)])
        for layer in self.linear:
            INITS[setting.init](layer)
        make = {"none": nn.Identity, "batch": nn.BatchNorm1d, "layer": nn.LayerNorm}[setting.norm]
        self.norm = nn.ModuleList([make(size) for size in sizes[1:-1]])

    def forward(self, x: Tensor) -> Tensor:
        """Return scores (B, classes), before the softmax, of inputs (B, ...)."""
        x = x.flatten(1)
        for depth, (linear, norm) in enumerate(zip(self.linear[:-1], self.norm, strict=True)):
            h = ACTIVATIONS[self.setting.activation](norm(linear(x)))
            x = x + h if self.setting.residual and depth >= self.plain else h
        return self.linear[-1](x)


def expected_factors(activation: str, init: str, layers: int, second_moment: float = 1.0) -> np.ndarray:
    """Return by what factor the gradient shrinks on its way back through each of many equal layers.

    The mean-field argument of {cite:t}`glorot2010understanding` and {cite:t}`he2015delving`, for layers of
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
