"""Deep fully connected networks whose gradients fade or do not, and what theory expects of them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import ParameterError

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

#: The initialisation made for each activation, Xavier's (Glorot's), He's and LeCun's.
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
            INITS[setting.init](layer)  # pyright: ignore[reportArgumentType]: a list of modules forgets their kind
        make = {"none": nn.Identity, "batch": nn.BatchNorm1d, "layer": nn.LayerNorm}[setting.norm]
        self.norm = nn.ModuleList([make(size) for size in sizes[1:-1]])

    def forward(self, x: Tensor) -> Tensor:
        """Return scores (B, classes), before the softmax, of inputs (B, ...)."""
        x = x.flatten(1)
        for depth, (linear, norm) in enumerate(zip(self.linear[:-1], self.norm, strict=True)):
            h = ACTIVATIONS[self.setting.activation](norm(linear(x)))
            x = x + h if self.setting.residual and depth >= self.plain else h
        return self.linear[-1](x)
