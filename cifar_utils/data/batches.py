"""Batches of a split that stays on its device: shuffle, crop, flip and normalise without Python per image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise, starmap

import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import ParameterError
from .augment import Transform
from .sets import Split, channel_stats


def edges(count: int, batch_size: int) -> list[int]:
    """Return where each batch of one pass over `count` examples begins, and, as the last entry, `count`.

    The last batch takes what is left over, but never one example alone, from which batch normalisation
    could learn nothing: that one joins the batch before it. `Batches`, `stacked.fit` and `deep_stack.fit`
    all keep this rule.
    """
    starts = list(range(0, count, batch_size))
    if batch_size > 1 and len(starts) > 1 and count - starts[-1] == 1:
        starts.pop()
    return [*starts, count]


class Batches:
    """Iterate over one epoch of batches `(x, y)`, float32 (B, C, H, W) and int64 (B,), on the split's device.

    Images stay uint8 in memory, padded once; a batch is one gather of rows of pixels from the padded
    set, normalised in place. All random choices of an epoch are drawn at its start from the
    object's own seeded generator, on the device, so nothing waits for the host. What `augment` changes
    is drawn batch by batch from a second generator: order, crops and flips are the same with it and without.

    Args:
        split: the examples; images (N, C, H, W) uint8, or float32 of any shape (taken as they are).
        batch_size: examples a batch; the last one of a pass may be smaller, or one larger (see `edges`).
        shuffle: a new order every epoch.
        replacement: draw every batch at random from the whole split, instead of passing over it.
        steps: full batches an epoch; default those of one pass, or ceil(N / batch_size) with `replacement`.
        drop_last: leave out a last, smaller batch.
        crop: random crop back to H x W after padding so many zero pixels on each side.
        flip: mirror every image left to right with probability one half.
        augment: further changes (`cifar_utils.data.augment`), applied in this order after crop and flip to images
            in 0..1, before they are normalised; labels may come out soft, float32 (B, classes).
        stats: `(mean, std)` per channel, in units of 1/255, usually the training set's
            (`data.channel_stats`); None scales to 0..1 only.
        channels_last: give batches in that memory format.
        seed: seeds order, crops, flips and `augment`.

    Raises:
        ParameterError: a batch size or padding below its minimum, crop, flip or augmentation of
            something that is not an image.
    """

    def __init__(
        self,
        split: Split,
        batch_size: int,
        *,
        shuffle: bool = True,
        replacement: bool = False,
        steps: int | None = None,
        drop_last: bool = False,
        crop: int = 0,
        flip: bool = False,
        augment: Sequence[Transform] = (),
        stats: tuple[Tensor, Tensor] | None = None,
        channels_last: bool = False,
        seed: int = 0,
    ):
        if batch_size < 1:
            raise ParameterError(f"batch_size is {batch_size}; expected 1 or more.")
        if crop < 0:
            raise ParameterError(f"crop is {crop}; expected 0 or more pixels of padding.")
        is_image = split.x.dtype == torch.uint8 and split.x.dim() == 4
        if (crop or flip) and not is_image:
            raise ParameterError(
                f"crop and flip need uint8 images (N, C, H, W); got {split.x.dtype} of shape {tuple(split.x.shape)}."
            )
        self.augment = tuple(augment)
        if self.augment and not is_image:
            raise ParameterError(
                f"augment needs uint8 images (N, C, H, W); got {split.x.dtype} of shape {tuple(split.x.shape)}."
            )
        self.split, self.batch_size, self.shuffle, self.replacement = split, batch_size, shuffle, replacement
        self.crop, self.flip, self.is_image = crop, flip, is_image
        self.device = split.x.device
        if steps is not None and steps < 1:
            raise ParameterError(f"steps is {steps}; expected 1 or more.")
        if steps or drop_last or replacement:  # full batches only
            full = steps or (len(split) // batch_size if drop_last else -(-len(split) // batch_size))
            self.edges = [n * batch_size for n in range(full + 1)]
        else:
            self.edges = edges(len(split), batch_size)
        self.steps = len(self.edges) - 1
        self._passes = -(-self.steps * batch_size // len(split)) if steps else 1
        if self.steps < 1:
            raise ParameterError(
                f"batch_size {batch_size} is larger than the {len(split)} examples and drop_last leaves nothing."
            )
        self.generator = torch.Generator(self.device).manual_seed(seed)
        self._augmenting: torch.Generator | None = None
        if self.augment:  # its own stream, far from those of other runs' seeds; the CPU's keeps 32 bits of a seed
            self._augmenting = torch.Generator(self.device).manual_seed((seed + 2**31) % 2**32)
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.channels_last = channels_last and is_image
        if is_image:
            self._lay_out()
            mean, std = stats or (torch.zeros(split.x.shape[1]), torch.ones(split.x.shape[1]))
            self._shift, self._scale = (mean * 255).to(self.device), (1 / (std * 255)).to(self.device)

    @classmethod
    def for_evaluation(cls, split: Split, like: Batches, batch_size: int = 1000) -> Batches:
        """Return the split in order, not augmented, normalised and laid out as `like` does."""
        stats = (like._shift / 255, 1 / (like._scale * 255)) if like.is_image else None
        return cls(split, batch_size, shuffle=False, stats=stats, channels_last=like.channels_last)

    def in_order(self, split: Split) -> Batches:
        """Return what a held-out split is measured in; batches of something else than images say their own."""
        return Batches.for_evaluation(split, self)

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        n, g, dev = len(self.split), self.generator, self.device
        if self.replacement:
            order = torch.randint(n, (self.edges[-1],), generator=g, device=dev)
        elif self.shuffle:
            order = torch.cat([torch.randperm(n, generator=g, device=dev) for _ in range(self._passes)])
        else:
            order = torch.arange(n, device=dev).repeat(self._passes)
        top = left = mirror = None
        if self.crop:
            top, left = torch.randint(2 * self.crop + 1, (2, len(order)), generator=g, device=dev)
        if self.flip:
            mirror = torch.rand(len(order), generator=g, device=dev) < 0.5
        for part in starmap(slice, pairwise(self.edges)):
            pick = [None if t is None else t[part] for t in (top, left, mirror)]
            yield self.batch(order[part], *pick)

    def batch(
        self, index: Tensor, top: Tensor | None = None, left: Tensor | None = None, mirror: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the examples at `index`, cropped at (`top`, `left`) of the padded image, mirrored and augmented.

        Args:
            index: int64 (B,).
            top, left: int64 (B,) in 0..2*crop, or None for the middle (no shift).
            mirror: bool (B,), or None for none.
        """
        y = self.split.y[index]
        if not self.is_image:
            return self.split.x[index], y
        down, across = (self.crop, self.crop) if top is None or left is None else (top, left)
        starts = index * self._image_size + down * self._padded_run + across * self._pixel
        runs = (starts[:, None] + self._run_offsets).flatten()
        x = self._runs.index_select(0, runs).view(-1, *self._stored)
        if mirror is not None:  # as torch.where(mirror, x.flip(width), x), five times faster on bytes
            width = 2 if self.channels_last else 3
            x = x.flip(width).bitwise_xor_(x).mul_(mirror.view(-1, 1, 1, 1)).bitwise_xor_(x)
        x = x.to(torch.float32)
        if self.channels_last:
            x = x.permute(0, 3, 1, 2)
        if self._augmenting is not None:
            x = x.div_(255)
            for transform in self.augment:
                x, y = transform(x, y, self._augmenting)
            x = x.contiguous(memory_format=self.memory_format) * 255
        self._normalise(x)
        return x, y

    def _normalise(self, x: Tensor) -> None:
        if not self.channels_last:
            x.sub_(self._shift.view(-1, 1, 1)).mul_(self._scale.view(-1, 1, 1))
            return
        height, width, _ = self._stored  # whole rows at once: a loop over three channels is a slow one
        rows = x.permute(0, 2, 3, 1).view(len(x), height, -1)
        rows.sub_(self._shift.repeat(width)).mul_(self._scale.repeat(width))

    def state(self) -> Tensor:
        """Return the state of the generator, or of both with `augment`, uint8; `restore` continues with the same."""
        if self._augmenting is None:
            return self.generator.get_state()
        return torch.cat([self.generator.get_state(), self._augmenting.get_state()])

    def restore(self, state: Tensor) -> None:
        """Put back a state taken by `state` at the end of an epoch."""
        if self._augmenting is None:
            self.generator.set_state(state.cpu())
            return
        first, second = state.cpu().chunk(2)
        self.generator.set_state(first.clone())
        self._augmenting.set_state(second.clone())

    def _lay_out(self) -> None:
        """Make a view of every run of bytes of the padded set that may be a row of a crop.

        A crop is then C*H runs of W bytes or, with channels last, H runs of W*C: whole memory copies, six times
        faster than indexing a view of all windows pixel by pixel.
        """
        padded = F.pad(self.split.x, [self.crop] * 4) if self.crop else self.split.x
        channels, height, width = self.split.x.shape[1:]
        planes, self._pixel = (1, channels) if self.channels_last else (channels, 1)
        self._stored = (height, width, channels) if self.channels_last else (channels, height, width)
        padded = (padded.permute(0, 2, 3, 1) if self.channels_last else padded).flatten()
        run, self._padded_run = width * self._pixel, (width + 2 * self.crop) * self._pixel
        plane = (height + 2 * self.crop) * self._padded_run
        self._image_size = planes * plane
        self._runs = padded.as_strided((len(padded) - run + 1, run), (1, 1))
        of_plane = torch.arange(planes, device=self.device)[:, None] * plane
        self._run_offsets = (of_plane + torch.arange(height, device=self.device) * self._padded_run).flatten()


def training_batches(split: Split, batch_size: int, **options) -> Batches:
    """Return `Batches` normalised by the split's own channel statistics (images only)."""
    if split.x.dtype == torch.uint8:
        options.setdefault("stats", channel_stats(split))
    return Batches(split, batch_size, **options)
