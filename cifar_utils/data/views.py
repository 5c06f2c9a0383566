"""Batches in which every image is seen from both sides in turn, shifted a little, small at first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import ParameterError
from .batches import Batches
from .sets import Split

#: From which side a pass may show an image.
FLIPS = ("alternating", "random", "none")


class AlternatingBatches(Batches):
    """Passes over the images in which every second shows each image mirrored.

    A coin for every image says from which side it is seen first; from then on sides alternate, so two passes show
    each image once from each side. A new coin every pass shows it twice from the same side half of the time (Jordan,
    2024).

    Args:
        split: uint8 images (N, C, H, W).
        batch_size: images a step; the last, smaller batch is left out.
        shift: images move by up to so many pixels in each direction; what comes in is the mirrored border.
        flips: `alternating` as said; `random` throws the coin anew in every pass; `none` mirrors no image.
        sides: pixels to a side in the first passes, one number a pass; afterwards the images' own size.
        options: of `Batches`.

    Raises:
        ParameterError: options that `Batches` refuses, other flips, or a side of less than 17 pixels or more than the
            image has.
    """

    def __init__(
        self,
        split: Split,
        batch_size: int,
        *,
        shift: int = 2,
        flips: str = "alternating",
        sides: Sequence[int] = (),
        **options,
    ):
        super().__init__(split, batch_size, drop_last=True, **options)
        if flips not in FLIPS:
            raise ParameterError(f"flips is {flips!r}; expected one of {', '.join(FLIPS)}.")
        own = split.x.shape[-1]
        if any(not 17 <= side <= own for side in sides):
            raise ParameterError(f"sides are {tuple(sides)}; expected pixels from 17 to the images' {own}.")
        self.shift, self.flips, self.sides, self.passes = shift, flips, tuple(sides), 0
        padded = F.pad(split.x.float(), [shift] * 4, mode="reflect").to(torch.uint8) if shift else split.x
        self._padded = padded.permute(0, 2, 3, 1).contiguous()
        self._mirrored = self._coins()

    def _coins(self) -> Tensor:
        return torch.rand(len(self.split), generator=self.generator, device=self.device) < 0.5

    def _sides(self) -> Tensor:
        """Return which images this pass shows mirrored, bool (N,)."""
        if self.flips == "none":
            return torch.zeros_like(self._mirrored)
        if self.flips == "random":
            return self._coins()
        return self._mirrored if self.passes % 2 == 0 else ~self._mirrored

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        order = torch.randperm(len(self.split), generator=self.generator, device=self.device)
        places = torch.randint(2 * self.shift + 1, (2, len(order)), generator=self.generator, device=self.device)
        side = self.sides[self.passes] if self.passes < len(self.sides) else None
        mirrored = self._sides()
        self.passes += 1
        for start in self.edges[:-1]:
            part = slice(start, start + self.batch_size)
            x = self._windows(order[part], places[0, part], places[1, part], mirrored[order[part]])
            yield (self._smaller(x, side) if side else x), self.split.y[order[part]]

    def _windows(self, index: Tensor, top: Tensor, left: Tensor, mirrored: Tensor) -> Tensor:
        height, width = self.split.x.shape[2:]
        rows = top[:, None] + torch.arange(height, device=self.device)
        across = torch.arange(width, device=self.device).expand(len(index), -1)
        columns = left[:, None] + torch.where(mirrored[:, None], across.flip(1), across)
        x = self._padded[index[:, None, None], rows[:, :, None], columns[:, None, :]].float()
        x = x.sub_(self._shift).mul_(self._scale).permute(0, 3, 1, 2)
        return x.contiguous(memory_format=self.memory_format)

    def _smaller(self, x: Tensor, side: int) -> Tensor:
        if side == x.shape[-1]:
            return x
        x = F.interpolate(x, side, mode="bilinear", antialias=True, align_corners=False)
        return x.contiguous(memory_format=self.memory_format)

    def state(self) -> Tensor:
        """Return the generator's state, and which pass comes next, uint8."""
        passes = torch.tensor([self.passes], dtype=torch.int64).view(torch.uint8)
        return torch.cat([super().state().cpu(), passes])

    def restore(self, state: Tensor) -> None:
        """Put back a state taken by `state` at the end of an epoch."""
        super().restore(state[:-8])
        self.passes = int(state[-8:].clone().view(torch.int64))
