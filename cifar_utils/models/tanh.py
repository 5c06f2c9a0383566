"""The network that the RDFIA practical writes by hand."""

from __future__ import annotations

from torch import Tensor, nn

from ..errors import ParameterError


class TanhNetwork(nn.Sequential):
    """One hidden layer of tanh units (RDFIA, part 2-ab, question 7).

    Args:
        inputs: values of one example after flattening.
        hidden: tanh units.
        classes: number of scores.
        std: standard deviation of normally distributed initial weights, with biases of zero; None
            leaves PyTorch's own initialisation.

    Raises:
        ParameterError: a size below 1, or a negative `std`.
    """

    def __init__(self, inputs: int, hidden: int, classes: int, std: float | None = None):
        if min(inputs, hidden, classes) < 1:
            raise ParameterError(f"Sizes are {inputs}, {hidden} and {classes}; expected 1 or more of each.")
        if std is not None and std < 0:
            raise ParameterError(f"std is {std}; expected 0 or more, or None.")
        first, second = nn.Linear(inputs, hidden), nn.Linear(hidden, classes)
        super().__init__(nn.Flatten(), first, nn.Tanh(), second)
        if std is not None:
            for layer in (first, second):
                nn.init.normal_(layer.weight, std=std)
                nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return scores (B, classes), before the softmax, of inputs (B, ...)."""
        return super().forward(x)
