"""Examples with their labels: how they are moved, split by class, and described."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..device import float64_device
from ..errors import ParameterError


@dataclass(frozen=True)
class Split:
    """Examples and labels of one split.

    Attributes:
        x: uint8 images (N, C, H, W) in 0..255, or float32 points (N, D).
        y: int64 labels (N,).
    """

    x: Tensor
    y: Tensor

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, index) -> Split:
        return Split(self.x[index], self.y[index])

    def to(self, device) -> Split:
        """Return the split on `device`."""
        return Split(self.x.to(device), self.y.to(device))


def stratified_split(labels: Tensor, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Split indices in two so that the second part has `count` of them, classes in equal proportion.

    Args:
        labels: int64 (N,).
        count: size of the second part, 0 < count < N.
        seed: the same seed gives the same split.

    Returns:
        Two sorted int64 index tensors, of N - count and count elements.

    Raises:
        ParameterError: `count` is out of range, or a class would be missing from a part.
    """
    from sklearn.model_selection import train_test_split

    labels = labels.cpu()
    if not 0 < count < len(labels):
        raise ParameterError(
            f"Cannot split {count} examples off {len(labels)}; expected between 1 and {len(labels) - 1}."
        )
    try:
        first, second = train_test_split(
            np.arange(len(labels)), test_size=count, stratify=labels.numpy(), random_state=seed
        )
    except ValueError as error:
        raise ParameterError(f"A part of the split would have an empty class: {error}") from None
    return torch.from_numpy(np.sort(first)), torch.from_numpy(np.sort(second))


def channel_stats(split: Split) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation per channel of uint8 images, float32 (C,), in units of 1/255."""
    x = split.x.to(float64_device(split.x.device))
    count = x.numel() / x.shape[1]
    # Sums per channel in float64 by histogram: exact, and no float copy of the whole set.
    values = torch.arange(256, dtype=torch.float64, device=x.device)
    counts = torch.stack([torch.bincount(x[:, c].flatten(), minlength=256) for c in range(x.shape[1])])
    mean = counts.double() @ values / count
    std = (counts.double() @ values**2 / count - mean**2).sqrt()
    return (mean / 255).float().to(split.x.device), (std / 255).float().to(split.x.device)
