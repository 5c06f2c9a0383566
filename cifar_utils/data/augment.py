"""Changes of a whole training batch at random, on its device: colour, rotation, noise, cutout, mixup, CutMix.

A transform is called as `transform(x, y, generator)` with float images `x` (B, C, H, W) **in 0..1, before
standardisation**, int64 labels `y` (B,) or soft labels (B, classes), and the generator that it draws from;
it returns new images in 0..1 and labels, int64 as they were or float32 (B, classes) where images were mixed.
`Batches(augment=...)` applies them in the order given, to training batches only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from ..device import finest_dtype
from ..errors import ParameterError


class Transform(Protocol):
    """What `Batches` can apply: images in 0..1 and labels to images in 0..1 and labels."""

    def __call__(self, x: Tensor, y: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        """Return the changed batch; `x` and `y` themselves may be overwritten."""
        ...


@dataclass(frozen=True)
class Flip:
    """Mirror images at random.

    Args:
        axis: `horizontal` (left to right), `vertical` (upside down) or `both` (a turn by 180 degrees).
        p: probability for each image.

    Raises:
        ParameterError: unknown axis, or `p` outside 0..1.
    """

    axis: str = "horizontal"
    p: float = 0.5

    def __post_init__(self):
        if self.axis not in _AXES:
            raise ParameterError(f"axis is {self.axis!r}; expected one of {', '.join(_AXES)}.")
        _probability(self.p)

    def __call__(self, x: Tensor, y: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        """Return the batch with some images mirrored; labels unchanged."""
        return torch.where(_chosen(x, self.p, generator), x.flip(_AXES[self.axis]), x), y


@dataclass(frozen=True)
class ColourJitter:
    """Multiply brightness, contrast and saturation by factors of each image's own, then clip to 0..1.

    A factor is uniform in [1 - strength, 1 + strength]. Brightness scales towards black, contrast towards the
    image's mean grey, saturation towards each pixel's grey, in that order (colours only: images of three channels).

    Raises:
        ParameterError: a strength outside 0..1, or saturation of images without colours.
    """

    brightness: float = 0.4
    contrast: float = 0.4
    saturation: float = 0.0

    def __post_init__(self):
        for name in ("brightness", "contrast", "saturation"):
            if not 0 <= getattr(self, name) <= 1:
                raise ParameterError(f"{name} is {getattr(self, name)}; expected a strength from 0 to 1.")

    def __call__(self, x: Tensor, y: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        """Return the batch with changed colours; labels unchanged."""
        if self.saturation and x.shape[1] != 3:
            raise ParameterError(f"saturation needs images of 3 channels; these have {x.shape[1]}.")
        if self.brightness:
            x = x * self._factor(x, self.brightness, generator)
        if self.contrast:
            x = torch.lerp(_grey(x).mean((2, 3), keepdim=True), x, self._factor(x, self.contrast, generator))
        if self.saturation:
            x = torch.lerp(_grey(x), x, self._factor(x, self.saturation, generator))
        return x.clamp(0, 1), y

    @staticmethod
    def _factor(x: Tensor, strength: float, generator: Generator) -> Tensor:
        return 1 + strength * (2 * _uniform(x, generator) - 1)


@dataclass(frozen=True)
class Rotation:
    """Turn every image about its middle by an angle uniform in [-degrees, degrees], bilinear.

    Args:
        degrees: the largest angle, 0 to 180.
        padding: what stands outside the image: `reflection`, `border` or `zeros` (black).

    Raises:
        ParameterError: an angle out of range, or unknown padding.
    """

    degrees: float = 15.0
    padding: str = "reflection"

    def __post_init__(self):
        if not 0 <= self.degrees <= 180:
            raise ParameterError(f"degrees is {self.degrees}; expected 0 to 180.")
        if self.padding not in ("reflection", "border", "zeros"):
            raise ParameterError(f"padding is {self.padding!r}; expected 'reflection', 'border' or 'zeros'.")

    def __call__(self, x: Tensor, y: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        """Return the batch with turned images; labels unchanged."""
        if not self.degrees:
            return x, y
        angle = math.radians(self.degrees) * (2 * _uniform(x, generator).flatten() - 1)
        return rotate(x, angle, self.padding), y


@dataclass(frozen=True)
class GaussianNoise:
    """Add independent normal noise to every value, then clip to 0..1.

    Args:
        std: standard deviation in units of the whole range; 8/255 is 8 of 255 steps.

    Raises:
        ParameterError: a negative `std`.
    """

    std: float = 8 / 255

    def __post_init__(self):
        if not 0 <= self.std < math.inf:
            raise ParameterError(f"std is {self.std}; expected 0 or more, in units of the whole range 0..1.")

    def __call__(self, x: Tensor, y: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        """Return the noisy batch; labels unchanged."""
        if not self.std:
            return x, y
        noise = torch.empty_like(x)
        # in the order of memory: with channels last that is many times faster than in the order of axes
        noise.as_strided((noise.numel(),), (1,)).normal_(0, self.std, generator=generator)
        return noise.add_(x).clamp_(0, 1), y


@dataclass(frozen=True)
class Cutout:
    """Replace a square of every image, wholly inside it, by one grey (DeVries and Taylor, 2017).

    Args:
        size: side of the square, in pixels; 0 changes nothing.
        fill: the grey, 0..1; 0.5 is close to CIFAR-10's mean, which is zero after standardisation.
        p: probability for each image.

    Raises:
        ParameterError: a negative size or one larger than the image; `fill` or `p` outside 0..1.
    """

    size: int = 8
    fill: float = 0.5
    p: float = 1.0

    def __post_init__(self):
        if self.size < 0:
            raise ParameterError(f"size is {self.size}; expected 0 or more pixels.")
        if not 0 <= self.fill <= 1:
            raise ParameterError(f"fill is {self.fill}; expected a grey from 0 to 1.")
        _probability(self.p)

    def __call__(self, x: Tensor, y: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        """Return the batch with a square of each image gone; labels unchanged."""
        height, width = x.shape[2:]
        if self.size > min(height, width):
            raise ParameterError(f"size is {self.size}, larger than the images of {height}x{width} pixels.")
        top = _below(height - self.size + 1, x, generator)
        left = _below(width - self.size + 1, x, generator)
        inside = box(x, top, top + self.size, left, left + self.size) & _chosen(x, self.p, generator)
        return x.masked_fill(inside, self.fill), y


@dataclass(frozen=True)
class Mixup:
    """Average every image, and its label, with another of the batch (Zhang et al., 2018).

    The image keeps the share lambda, drawn from Beta(alpha, alpha) for each image.

    Args:
        classes: width of the soft labels.
        alpha: small values leave most images nearly alone; 1 makes all shares equally likely.
        p: probability for each image.

    Raises:
        ParameterError: `alpha` is not above 0, `p` outside 0..1, fewer than one class.
    """

    classes: int
    alpha: float = 0.2
    p: float = 1.0

    def __post_init__(self):
        _mixing(self)

    def __call__(self, x: Tensor, y: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        """Return the mixed images and soft labels, float32 (B, classes)."""
        other = torch.randperm(len(x), generator=generator, device=x.device)
        share = torch.where(_chosen(x, self.p, generator), _beta(x, self.alpha, generator), 1.0)
        y = soft(y, self.classes)
        return torch.lerp(x[other], x, share), torch.lerp(y[other], y, share.view(-1, 1))


@dataclass(frozen=True)
class CutMix:
    """Paste a rectangle of another image of the batch, and mix labels by area (Yun et al., 2019).

    The rectangle has the image's proportions, its area before clipping at the border is 1 - lambda with
    lambda from Beta(alpha, alpha), and its middle is uniform in the image. The labels are weighted by the
    **pixels that were really pasted**, so they agree with the picture exactly.

    Args:
        classes: width of the soft labels.
        alpha: 1, the default, makes all shares equally likely.
        p: probability for each image.

    Raises:
        ParameterError: `alpha` is not above 0, `p` outside 0..1, fewer than one class.
    """

    classes: int
    alpha: float = 1.0
    p: float = 1.0

    def __post_init__(self):
        _mixing(self)

    def __call__(self, x: Tensor, y: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        """Return the patched images and soft labels, float32 (B, classes)."""
        height, width = x.shape[2:]
        other = torch.randperm(len(x), generator=generator, device=x.device)
        side = torch.sqrt(1 - _beta(x, self.alpha, generator)).flatten()
        edges = []
        for length in (height, width):
            middle = _below(length, x, generator)
            half = (side * length / 2).round().long()
            edges += [(middle - half).clamp(min=0), (middle + half).clamp(max=length)]
        inside = box(x, *edges) & _chosen(x, self.p, generator)
        pasted = inside.sum((1, 2, 3)).view(-1, 1) / (height * width)
        y = soft(y, self.classes)
        return torch.where(inside, x[other], x), torch.lerp(y, y[other], pasted)


def soft(y: Tensor, classes: int) -> Tensor:
    """Return labels as shares of classes, float32 (B, classes); soft labels are returned as they are.

    Raises:
        ParameterError: soft labels of another width, or (on the CPU, where looking costs no wait) a label
            that `classes` does not reach.
    """
    if y.dim() == 2:
        if y.shape[1] != classes:
            raise ParameterError(f"Labels are shares of {y.shape[1]} classes; expected {classes}.")
        return y
    if y.device.type == "cpu" and len(y) and int(y.max()) >= classes:
        raise ParameterError(f"There is a label {int(y.max())}; expected labels below classes={classes}.")
    return torch.zeros((len(y), classes), device=y.device).scatter_(1, y.view(-1, 1), 1.0)


def rotate(x: Tensor, angle: Tensor, padding: str = "reflection") -> Tensor:
    """Turn images (B, C, H, W) about their middle, anticlockwise as seen, by `angle` (B,) in radians, bilinear."""
    height, width = x.shape[2:]
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    # affine_grid counts each side from -1 to 1, so a turn of an oblong image needs its proportions
    rows = [torch.stack([cos, -sin * height / width, zero], 1), torch.stack([sin * width / height, cos, zero], 1)]
    grid = F.affine_grid(torch.stack(rows, 1), list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, mode="bilinear", padding_mode=padding, align_corners=False)


def box(x: Tensor, top: Tensor, bottom: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """Return a mask, bool (B, 1, H, W), true for rows top..bottom-1 and columns left..right-1 of each image."""
    row = torch.arange(x.shape[2], device=x.device).view(1, 1, -1, 1)
    column = torch.arange(x.shape[3], device=x.device).view(1, 1, 1, -1)
    top, bottom, left, right = (edge.view(-1, 1, 1, 1) for edge in (top, bottom, left, right))
    return (row >= top) & (row < bottom) & (column >= left) & (column < right)


_AXES = {"horizontal": (3,), "vertical": (2,), "both": (2, 3)}


def _probability(p: float) -> None:
    if not 0 <= p <= 1:
        raise ParameterError(f"p is {p}; expected a probability from 0 to 1.")


def _mixing(transform: Mixup | CutMix) -> None:
    if not 0 < transform.alpha < math.inf:
        raise ParameterError(f"alpha is {transform.alpha}; expected a number above 0.")
    if transform.classes < 1:
        raise ParameterError(f"classes is {transform.classes}; expected 1 or more.")
    _probability(transform.p)


def _uniform(x: Tensor, generator: Generator) -> Tensor:
    """Return one number in [0, 1) an image, float32 (B, 1, 1, 1)."""
    return torch.rand((len(x), 1, 1, 1), generator=generator, device=x.device)


def _chosen(x: Tensor, p: float, generator: Generator) -> Tensor:
    """Return True with probability p for each image, bool (B, 1, 1, 1)."""
    return _uniform(x, generator) < p


def _below(limit: int, x: Tensor, generator: Generator) -> Tensor:
    """Return one whole number in 0..limit-1 an image, int64 (B,)."""
    return torch.randint(limit, (len(x),), generator=generator, device=x.device)


def _beta(x: Tensor, alpha: float, generator: Generator) -> Tensor:
    """Return one draw of Beta(alpha, alpha) an image, float32 (B, 1, 1, 1).

    As the share of one of two gamma variables; torch.distributions would draw from the global generator.
    """
    shape = torch.full((2, len(x), 1, 1, 1), alpha, dtype=finest_dtype(x.device), device=x.device)
    draw = torch._standard_gamma  # pyright: ignore[reportPrivateImportUsage]
    a, b = draw(shape, generator=generator).clamp_min(torch.finfo(shape.dtype).tiny)
    return (a / (a + b)).float()


def _grey(x: Tensor) -> Tensor:
    """Return the brightness of each pixel, (B, 1, H, W), by the weights of ITU-R BT.601 for three channels."""
    if x.shape[1] != 3:
        return x.mean(1, keepdim=True)
    return (x * x.new_tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, keepdim=True)
