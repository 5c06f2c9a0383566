"""Test accuracy where several views of each image vote: test-time augmentation, stated apart from one view's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional as F

from ..device import autocast_dtype
from . import measures

if TYPE_CHECKING:
    from .records import Training


def scores_of_views(network: nn.Module, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return scores (B, classes) of one view, and the means of two and of six.

    The views of Jordan's airbench94: the image, its mirror image, and both moved by a pixel up and left, and down and
    right, by reflection; what is moved has half of the weight.

    Args:
        network: in evaluation mode.
        x: float (B, C, H, W), prepared as in training.
    """
    both = lambda x: (network(x) + network(x.flip(-1))) / 2  # noqa: E731
    border = F.pad(x, [1] * 4, mode="reflect")
    moved = (both(border[..., :-2, :-2]) + both(border[..., 2:, 2:])) / 2
    return network(x), both(x), (both(x) + moved) / 2


@measures.register("views")
def by_views(training: Training) -> list[float]:
    """Return test accuracies in percent from one view, from two and from six."""
    test, amp = training.data.test, autocast_dtype(training.recipe.precision, training.device)
    assert test is not None
    right = torch.zeros(3, dtype=torch.int64)
    for x, y in training.batches(test):
        with torch.no_grad(), torch.autocast(x.device.type, amp, enabled=bool(amp)):
            scores = scores_of_views(training.model, x)
        right += torch.stack([(each.argmax(1) == y).sum().cpu() for each in scores])
    return (100 * right / len(test)).tolist()
