"""Ways to prepare images for a network, fitted on one split and applied to any other.

Every transformation is an object that is called with a `Split` of uint8 images (N, C, H, W) in
0..255, or of float32 images in 0..1, and returns a `Split` of float32 images of the same shape and
the same labels. Those with something to learn are made by `fit`, which sees one split only:

>>> prepare = Whitening.fit(cifar.train, epsilon=0.01)
>>> train, test = prepare(cifar.train), prepare(cifar.test)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..device import float64_device
from ..errors import DataError, ParameterError
from .sets import Split, channel_stats

#: Images converted to float64 at a time; 1,000 of CIFAR-10 take 25 MB.
CHUNK = 1000


def as_floats(split: Split) -> Tensor:
    """Return a split's images as float32 (N, C, H, W) in 0..1.

    Raises:
        DataError: the split holds no images.
    """
    x = split.x
    if x.dim() != 4 or x.dtype not in (torch.uint8, torch.float32):
        raise DataError(
            "Expected images (N, C, H, W), uint8 in 0..255 or float32 in 0..1; "
            f"got {x.dtype} of shape {tuple(x.shape)}."
        )
    return x.float().div_(255) if x.dtype == torch.uint8 else x


@dataclass(frozen=True)
class Scale:
    """Divide by 255 and nothing more: pixels in 0..1."""

    name: ClassVar[str] = "0..1"

    def __call__(self, split: Split) -> Split:
        """Return the split's images in 0..1."""
        return Split(as_floats(split), split.y)


@dataclass(frozen=True)
class Standardise:
    """Subtract each channel's mean and divide by its standard deviation, over all pixels of all images.

    Attributes:
        mean, std: float32 (C,), in units of 0..1.
    """

    mean: Tensor
    std: Tensor

    @classmethod
    def fit(cls, split: Split) -> Standardise:
        """Return the transformation with the split's own means and standard deviations.

        Raises:
            DataError: a channel has the same value everywhere.
        """
        if split.x.dtype == torch.uint8 and split.x.dim() == 4:
            mean, std = channel_stats(split)
        else:
            x = as_floats(split).to(float64_device(split.x.device)).double()
            mean, std = x.mean((0, 2, 3)).float(), x.std((0, 2, 3), correction=0).float()
        return cls(mean, _positive(std))

    def __call__(self, split: Split) -> Split:
        """Return the split's images, standardised."""
        x = as_floats(split)
        _expect(x.shape[1], len(self.mean), "channels")
        mean, std = (v.to(x.device).view(1, -1, 1, 1) for v in (self.mean, self.std))
        return Split((x - mean) / std, split.y)


@dataclass(frozen=True)
class AverageImage:
    """Subtract the average image, another mean for every pixel, and divide by one number a channel.

    Attributes:
        mean: float32 (C, H, W), the average image in units of 0..1.
        std: float32 (C,), standard deviation of what is left.
    """

    mean: Tensor
    std: Tensor

    @classmethod
    def fit(cls, split: Split) -> AverageImage:
        """Return the transformation with the split's own average image.

        Raises:
            DataError: nothing is left of a channel, such as with one image alone.
        """
        mean, square = _moments(split)
        left = (square - mean**2).clamp_min(0).mean((1, 2)).sqrt()
        return cls(mean.float(), _positive(left.float()))

    def __call__(self, split: Split) -> Split:
        """Return the split's images without the average image."""
        x = as_floats(split)
        _expect(tuple(x.shape[1:]), tuple(self.mean.shape), "images of shape")
        mean, std = self.mean.to(x.device), self.std.to(x.device)
        return Split((x - mean) / std.view(1, -1, 1, 1), split.y)


@dataclass(frozen=True)
class ContrastNormalise:
    """Give every image mean zero and standard deviation one by itself: global contrast normalisation.

    Nothing is fitted: each image is its own reference, and a brighter or paler copy gives the same.

    Attributes:
        floor: smallest standard deviation to divide by, in units of 0..1, so that an image of one
            colour becomes zero instead of 0/0.
    """

    floor: float = 1 / 255

    def __post_init__(self):
        if not self.floor > 0:
            raise ParameterError(f"floor is {self.floor}; expected more than 0.")

    def __call__(self, split: Split) -> Split:
        """Return the split's images, each normalised by itself."""
        x = as_floats(split)
        x = x - x.mean((1, 2, 3), keepdim=True)
        return Split(x / x.std((1, 2, 3), correction=0, keepdim=True).clamp_min(self.floor), split.y)


@dataclass(frozen=True)
class Whitening:
    """Remove the correlations between all pixels: a linear map whose result has covariance near identity.

    With the training images' mean m and covariance C = U diag(L) U^T, an image x (a vector) becomes
    gain * U (L + epsilon)^(-1/2) U^T (x - m) for `zca`, the whitening that changes images least, and
    without the last U^T for `pca`, where each "pixel" is a principal component. `epsilon` keeps directions in
    which the images hardly vary from being blown up to noise. `gain` gives pixels a mean variance of one.

    Sources: Bell and Sejnowski (1997), "The independent components of natural scenes are edge filters";
    Kessy, Lewin and Strimmer (2018), "Optimal whitening and decorrelation", for the optimality of ZCA.

    Attributes:
        mean: float32 (C, H, W).
        matrix: float32 (D, D) with D = C*H*W; row i gives output i.
        eigenvalues: float64 (D,), of the covariance, largest first, in squared units of 0..1.
        epsilon: added to every eigenvalue, in squared units of 0..1.
        gain: the factor that is contained in `matrix`.
    """

    mean: Tensor
    matrix: Tensor
    eigenvalues: Tensor
    epsilon: float
    gain: float

    @classmethod
    def fit(cls, split: Split, epsilon: float = 0.01, kind: str = "zca") -> Whitening:
        """Return the whitening of the split's own covariance.

        Raises:
            ParameterError: `epsilon` is negative, `kind` is neither `zca` nor `pca`.
            DataError: fewer than two images, all images alike, or no regularisation although the covariance
                is singular.
        """
        return cls.from_spectrum(*spectrum(split), len(split), epsilon, kind)

    @classmethod
    def from_spectrum(
        cls, mean: Tensor, eigenvalues: Tensor, vectors: Tensor, images: int, epsilon: float = 0.01, kind: str = "zca"
    ) -> Whitening:
        """Return the whitening for a decomposition made by `spectrum`, so that several share one.

        Args:
            mean, eigenvalues, vectors: what `spectrum` returned.
            images: how many images it is of.
            epsilon: added to every eigenvalue, in squared units of 0..1.
            kind: `zca` or `pca`.

        Raises:
            ParameterError, DataError: as `fit`.
        """
        if not epsilon >= 0:
            raise ParameterError(f"epsilon is {epsilon}; expected 0 or more.")
        if kind not in ("zca", "pca"):
            raise ParameterError(f"kind is {kind!r}; expected 'zca' or 'pca'.")
        singular = float(eigenvalues[-1]) <= 1e-12 * float(eigenvalues[0])
        if epsilon == 0 and singular:
            raise DataError(
                f"The covariance of {images} images in {len(eigenvalues)} dimensions is singular and cannot be "
                "whitened without regularisation; pass epsilon > 0, or more images."
            )
        gain = float((eigenvalues / (eigenvalues + epsilon)).mean() ** -0.5)
        matrix = gain * (eigenvalues + epsilon).rsqrt()[:, None] * vectors.T
        matrix = vectors @ matrix if kind == "zca" else matrix
        return cls(mean.float(), matrix.float(), eigenvalues, float(epsilon), gain)

    def __call__(self, split: Split) -> Split:
        """Return the split's images, whitened."""
        x = as_floats(split)
        _expect(tuple(x.shape[1:]), tuple(self.mean.shape), "images of shape")
        mean, matrix = self.mean.to(x.device), self.matrix.to(x.device)
        return Split(((x - mean).flatten(1) @ matrix.T).view(x.shape), split.y)


def covariance(split: Split) -> tuple[Tensor, Tensor]:
    """Return the average image, float64 (C, H, W), and the covariance of all pixels, float64 (D, D).

    The covariance divides by N, is in squared units of 0..1 and is summed over chunks of images, so
    that no float copy of the whole set is needed.

    Raises:
        DataError: fewer than two images.
    """
    if len(split) < 2:
        raise DataError(f"A covariance needs at least 2 images; got {len(split)}.")
    mean, _ = _moments(split)
    total = torch.zeros(mean.numel(), mean.numel(), dtype=torch.float64, device=float64_device(split.x.device))
    for start in range(0, len(split), CHUNK):
        part = as_floats(split[slice(start, start + CHUNK)])
        # products in float32 (of centred numbers, 1,000 at a time: errors near 1e-6), sums in float64
        centred = (part - mean.float().to(part.device)).flatten(1)
        total += (centred.T @ centred).to(total.device).double()
    return mean, total / len(split)


def spectrum(split: Split) -> tuple[Tensor, Tensor, Tensor]:
    """Return average image, eigenvalues (D,), largest first, and eigenvectors (D, D, as columns), all float64.

    Raises:
        DataError: fewer than two images, or all images are alike.
    """
    mean, matrix = covariance(split)
    values, vectors = torch.linalg.eigh(matrix)
    if float(values[-1]) <= 1e-12:
        raise DataError(f"All {len(split)} images are alike: there is no variance to whiten.")
    # rounding gives a singular covariance tiny negative eigenvalues
    return mean, values.flip(0).clamp_min(0), vectors.flip(1)


def _moments(split: Split) -> tuple[Tensor, Tensor]:
    """Return mean and mean square of every pixel, float64 (C, H, W), in chunks."""
    if len(split) < 1:
        raise DataError("There are no images to take an average of.")
    total = square = torch.zeros(split.x.shape[1:], dtype=torch.float64, device=float64_device(split.x.device))
    for start in range(0, len(split), CHUNK):
        part = as_floats(split[slice(start, start + CHUNK)]).to(total.device).double()
        total, square = total + part.sum(0), square + (part**2).sum(0)
    return total / len(split), square / len(split)


def _positive(std: Tensor) -> Tensor:
    if bad := [i for i, s in enumerate(std.tolist()) if s <= 1e-7]:
        raise DataError(f"Channel {bad[0]} does not vary between these images; there is nothing to divide by.")
    return std


def _expect(got, wanted, what: str) -> None:
    if got != wanted:
        raise DataError(f"This transformation was fitted on {what} {wanted}; got {got}.")
