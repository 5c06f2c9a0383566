"""Embeddings of a whole split, and numbers for how well they keep classes apart."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..data.batches import Batches
from ..errors import ParameterError


@torch.no_grad()
def embed(model: nn.Module, batches: Batches, autocast: torch.dtype | None = None) -> tuple[Tensor, Tensor]:
    """Return embeddings, float32 (N, D), and labels (N,) of one pass of `batches`, with `model` in evaluation mode.

    The order is that of `batches`, so give it some that do not shuffle, as `Batches.for_evaluation` does.

    Args:
        model: images (B, C, H, W) to embeddings (B, D).
        batches: one pass is taken.
        autocast: `torch.bfloat16` or `torch.float16` for the forward pass; None for float32.
    """
    was_training = model.training
    model.eval()
    parts = []
    for x, y in batches:
        with torch.autocast(x.device.type, autocast, enabled=autocast is not None):
            parts.append((model(x).float(), y))
    model.train(was_training)
    z, y = zip(*parts, strict=True)
    return torch.cat(z), torch.cat(y)


@torch.no_grad()
def knn_predict(known: Tensor, labels: Tensor, z: Tensor, k: int = 20, block: int = 1000) -> Tensor:
    """Return for each point the class of most of its `k` nearest known points, int64 (M,).

    Of classes with equally many neighbours the one with the lowest number wins.

    Args:
        known: points with known labels (N, D).
        labels: int64 (N,).
        z: points to classify (M, D). Points that are among the known ones find themselves first.
        k: how many neighbours vote, by Euclidean distance.
        block: points at a time; bounds memory to `block * N` distances.

    Raises:
        ParameterError: `k` is not between 1 and N.
    """
    if not 1 <= k <= len(known):
        raise ParameterError(f"k is {k}; expected between 1 and the {len(known)} known points.")
    classes, found = int(labels.max()) + 1, []
    half_square = (known * known).sum(1) / 2
    for part in z.split(block):
        near = (half_square - part @ known.T).topk(k, largest=False).indices  # the same order as by distance
        found.append(F.one_hot(labels[near], classes).sum(1).argmax(1))
    return torch.cat(found)


def knn_accuracy(known: Tensor, labels: Tensor, z: Tensor, y: Tensor, k: int = 20) -> float:
    """Return the share (0..1) of points `z` (M, D) whose class `y` (M,) is that of most of their `k` neighbours."""
    return (knn_predict(known, labels, z, k) == y).float().mean().item()
