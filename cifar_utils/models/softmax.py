"""Linear classifiers."""

from __future__ import annotations

from torch import Tensor, nn


class SoftmaxRegression(nn.Module):
    """One linear map from flattened inputs to class scores (A1, question 1).

    Args:
        features: inputs after flattening, such as 3072 for 3x32x32 images.
        classes: number of scores.
    """

    def __init__(self, features: int, classes: int):
        super().__init__()
        self.linear = nn.Linear(features, classes)
        # All classes start equal; the loss is convex, so no symmetry has to be broken.
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return scores (B, classes), before the softmax, of inputs (B, ...)."""
        return self.linear(x.flatten(1))
