"""Triplets of images sampled by label, the triplet loss, and losses that look at a whole batch instead.

Source of the triplets: A1 report, question 2.2. Distances between embeddings are p-norms of the difference.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise, starmap

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..data.batches import Batches
from ..data.sets import Split
from ..device import finest_dtype
from ..errors import DataError, ParameterError

#: Added to each component of a difference, as PyTorch does, so that a distance of zero has a gradient.
EPSILON = 1e-6


def distance(a: Tensor, b: Tensor, norm: float = 2.0) -> Tensor:
    """Return the p-norm of `a - b + EPSILON` along the last axis; p is `norm`, in (0, inf].

    Raises:
        ParameterError: `norm` is not positive.
    """
    if not norm > 0:
        raise ParameterError(f"norm is {norm}; expected a positive p, such as 1, 2 or inf.")
    return torch.linalg.vector_norm(a - b + EPSILON, norm, dim=-1)


def triplet_margin_loss(
    anchor: Tensor, positive: Tensor, negative: Tensor, margin: float = 1.0, norm: float = 2.0
) -> Tensor:
    """Return the mean of max(d(anchor, positive) - d(anchor, negative) + margin, 0) over a batch.

    Args:
        anchor, positive, negative: embeddings (B, D).
        margin: by how much the negative must be farther away.
        norm: the p of the distance.
    """
    return hinge(distance(anchor, positive, norm) - distance(anchor, negative, norm), margin)


def hinge(gap: Tensor, margin: float) -> Tensor:
    """Return the mean of max(gap + margin, 0)."""
    return (gap + margin).clamp(min=0).mean()


class TripletIndex:
    """Draw triplets of indices by label, on the labels' device and without a loop over images.

    With the images sorted by class, "another of this class" and "any of another class" are both one random
    number: a place in the class's own block, or in everything but that block.

    Args:
        labels: int64 (N,).

    Raises:
        DataError: a class has one image, so it has no positive pair; or there is one class only.
    """

    def __init__(self, labels: Tensor):
        counts = torch.bincount(labels)
        if single := (counts == 1).nonzero().flatten().tolist():
            raise DataError(
                f"Class {single[0]} has one image, so there is no positive pair for it; expected 2 or more of "
                "each class that occurs, so leave the class out or add images."
            )
        if (counts > 0).sum() < 2:
            raise DataError("All images are of one class, so there is no negative; expected two classes or more.")
        self.by_class = labels.argsort(stable=True)
        first = counts.cumsum(0) - counts
        self.count, self.first = counts[labels], first[labels]
        self.rank = torch.empty_like(labels)  # an image's place in its class's block
        self.rank[self.by_class] = torch.arange(len(labels), device=labels.device)
        self.rank -= self.first

    def draw(self, anchors: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return positives and negatives, int64 (B,), for `anchors` (B,).

        A positive is any other image of the anchor's class, a negative any image of another class, all equally
        likely.
        """
        count, first = self.count[anchors], self.first[anchors]
        step = 1 + _below(count - 1, generator)  # never 0, so never the anchor itself
        positive = first + (self.rank[anchors] + step) % count
        negative = _below(len(self.by_class) - count, generator)
        negative = torch.where(negative >= first, negative + count, negative)
        return self.by_class[positive], self.by_class[negative]


def _below(limit: Tensor, generator: torch.Generator) -> Tensor:
    """Return a whole number in 0..limit-1 for every entry of `limit`, each equally likely to 1 in 10^9."""
    uniform = torch.rand(limit.shape, generator=generator, device=limit.device, dtype=finest_dtype(limit.device))
    return (uniform * limit).long()


class TripletBatches(Batches):
    """Batches of triplets: anchors, then their positives, then their negatives, `x` (3B, C, H, W) in all.

    `y`, int64 (B,), is one everywhere: of the two candidates for "same class as the anchor", negative and positive,
    the second is right, which is how `TripletNetwork` answers. An epoch has every image as the anchor once.

    Args:
        split: images with labels.
        batch_size: triplets in a batch.
        options: those of `Batches`.

    Raises:
        DataError: a class has one image, or there is one class only.
    """

    def __init__(self, split: Split, batch_size: int, **options):
        super().__init__(split, batch_size, **options)
        self.index = TripletIndex(split.y)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        g, n = self.generator, len(self.split)
        order = torch.cat([torch.randperm(n, generator=g, device=self.device) for _ in range(self._passes)])
        for part in starmap(slice, pairwise(self.edges)):
            anchors = order[part]
            chosen = torch.cat([anchors, *self.index.draw(anchors, g)])
            top = left = None
            if self.crop:
                top, left = torch.randint(2 * self.crop + 1, (2, len(chosen)), generator=g, device=self.device)
            mirror = torch.rand(len(chosen), generator=g, device=self.device) < 0.5 if self.flip else None
            x, _ = self.batch(chosen, top, left, mirror)
            yield x, torch.ones_like(anchors)

    def in_order(self, split: Split) -> FixedTriplets:
        """Return a triplet for every image of a held-out split, the same in every pass."""
        return FixedTriplets(split, self)


class FixedTriplets(Batches):
    """The same triplets in every pass, for evaluation: image i is the anchor of the i-th.

    Args:
        split: images with labels.
        like: batches whose normalisation to use.
        batch_size: triplets in a batch.
        seed: seeds the choice of positives and negatives.
    """

    def __init__(self, split: Split, like: Batches, batch_size: int = 500, seed: int = 0):
        plain = Batches.for_evaluation(split, like, batch_size)
        self.__dict__.update(plain.__dict__)
        anchors = torch.arange(len(split), device=self.device)
        chosen = TripletIndex(split.y).draw(anchors, torch.Generator(self.device).manual_seed(seed))
        self.chosen = torch.stack([anchors, *chosen])

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for part in self.chosen.split(self.batch_size, dim=1):
            x, _ = self.batch(part.flatten())
            yield x, torch.ones_like(part[0])


class TripletNetwork(nn.Module):
    """An encoder asked which of two images is of the anchor's class: scores (B, 2) are minus the distances.

    So a triplet is a question with two answers, `train.fit` trains it with `triplet_loss`, and its accuracy is the
    share of triplets whose positive is nearer than their negative. A tie is wrong: an encoder that sends all to
    one point knows nothing.

    Args:
        encoder: images (3B, C, H, W) to embeddings (3B, D).
        norm: the p of the distance.
    """

    def __init__(self, encoder: nn.Module, norm: float = 2.0):
        super().__init__()
        self.encoder, self.norm = encoder, norm

    def forward(self, x: Tensor) -> Tensor:
        """Return minus the distances of anchors to negatives and to positives, (B, 2)."""
        anchor, positive, negative = self.encoder(x).float().chunk(3)  # distances need more than autocast's 8 bits
        return -torch.stack([distance(anchor, other, self.norm) for other in (negative, positive)], 1)


def triplet_loss(margin: float = 1.0):
    """Return the triplet margin loss as a function of `TripletNetwork`'s scores and labels."""
    return lambda scores, _: hinge(scores[:, 0] - scores[:, 1], margin)


def batch_hard_loss(z: Tensor, y: Tensor, margin: float = 1.0) -> Tensor:
    """Return the triplet loss with, for each anchor, the farthest positive and the nearest negative of the batch.

    Source: Hermans, Beyer and Leibe (2017). Anchors without a positive or a negative in the batch do not count.

    Args:
        z: embeddings (B, D).
        y: int64 (B,).
        margin: by how much the negative must be farther away.
    """
    d, same, other = _pairs(z, y)
    farthest = d.masked_fill(~same, -torch.inf).amax(1)
    nearest = d.masked_fill(~other, torch.inf).amin(1)
    whole = same.any(1) & other.any(1)
    return hinge((farthest - nearest)[whole], margin) if whole.any() else z.sum() * 0


def semi_hard_loss(z: Tensor, y: Tensor, margin: float = 1.0) -> Tensor:
    """Return the triplet loss with, for each pair of one class, the nearest negative beyond the positive.

    Source: Schroff, Kalenichenko and Philbin (2015). Pairs whose every negative is nearer than the positive take
    the farthest negative.

    Args:
        z: embeddings (B, D).
        y: int64 (B,).
        margin: by how much the negative must be farther away.
    """
    d, same, other = _pairs(z, y)
    sorted_d, order = d.masked_fill(~other, torch.inf).sort(1)  # the negatives of each anchor, nearest first
    count = other.sum(1, keepdim=True)
    place = torch.searchsorted(sorted_d.detach().contiguous(), d.detach().contiguous(), right=True)
    place = torch.minimum(place, (count - 1).clamp(min=0))
    gap = d - sorted_d.gather(1, place)
    whole = same & (count > 0)
    return hinge(gap[whole], margin) if whole.any() else z.sum() * 0


def supervised_contrastive_loss(z: Tensor, y: Tensor, temperature: float = 0.1) -> Tensor:
    """Return the supervised contrastive loss: cross-entropy of picking images of one's own class out of the batch.

    Source: Khosla et al. (2020), equation 2. Embeddings are scaled to length 1 first; anchors without a positive
    in the batch do not count.

    Args:
        z: embeddings (B, D).
        y: int64 (B,).
        temperature: divides the cosine similarities.

    Raises:
        ParameterError: `temperature` is not positive.
    """
    if not temperature > 0:
        raise ParameterError(f"temperature is {temperature}; expected a positive number.")
    z = F.normalize(z, dim=1)
    itself = torch.eye(len(y), dtype=torch.bool, device=y.device)
    log_p = (z @ z.T / temperature).masked_fill(itself, -torch.inf).log_softmax(1)
    same = (y[:, None] == y) & ~itself
    whole = same.any(1)
    if not whole.any():
        return z.sum() * 0
    picked = log_p.masked_fill(~same, 0).sum(1)[whole]
    return -(picked / same.sum(1)[whole]).mean()


def _pairs(z: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return all distances (B, B) and which pairs are of one class (not an image with itself) and of two."""
    square = (z * z).sum(1)
    d = (square[:, None] + square - 2 * z @ z.T).clamp(min=EPSILON**2).sqrt()
    same = y[:, None] == y
    itself = torch.eye(len(y), dtype=torch.bool, device=y.device)
    return d, same & ~itself, ~same
