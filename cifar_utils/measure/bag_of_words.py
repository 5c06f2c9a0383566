"""Bag of visual words: how images were classified before convolutional networks."""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import ParameterError


class BagOfWords:
    """Describe an image by how often each word of a learned vocabulary occurs in each part of it.

    A descriptor is a small patch with its contrast normalised, then whitened; the words are the centres
    that k-means finds among descriptors of the training images. Every patch of an image, at every
    `stride`-th pixel, counts for its nearest word in the cell of a `grid` x `grid` raster that it lies
    in. Counts are square-rooted and scaled to length one, so that a linear classifier compares them well
    (Csurka and others, 2004; the raster is Lazebnik, Schmid and Ponce's, 2006; descriptors as Coates,
    Lee and Ng's, 2011).

    Args:
        words: size of the vocabulary.
        patch: width of a patch, in pixels.
        stride: pixels between patches.
        grid: cells a side.
        seed: draws the patches that the vocabulary is learned from, and starts k-means.

    Raises:
        ParameterError: a number below 1.
    """

    def __init__(self, words: int, *, patch: int = 6, stride: int = 2, grid: int = 2, seed: int = 0):
        for name, value in (("words", words), ("patch", patch), ("stride", stride), ("grid", grid)):
            if value < 1:
                raise ParameterError(f"{name} is {value}; expected 1 or more.")
        self.words, self.patch, self.stride, self.grid, self.seed = words, patch, stride, grid, seed
        self.mean: Tensor | None = None
        self.whitening: Tensor | None = None
        self.vocabulary: Tensor | None = None

    @property
    def parameters(self) -> int:
        """How many numbers `fit` has learned: mean and whitening of descriptors, and the vocabulary."""
        return sum(learned.numel() for learned in self._learned())

    @property
    def features(self) -> int:
        """How many numbers describe an image."""
        return self.grid**2 * self.words

    def fit(self, images: Tensor, descriptors: int = 40_000, epsilon: float = 0.1) -> BagOfWords:
        """Learn whitening and vocabulary from patches drawn at random; return the bag itself.

        Args:
            images: uint8 (N, C, H, W).
            descriptors: how many patches to draw.
            epsilon: added to the variances before whitening, so that noise is not blown up.

        Raises:
            ParameterError: fewer descriptors than words, or images smaller than a patch.
        """
        from sklearn.cluster import MiniBatchKMeans

        if descriptors < self.words:
            raise ParameterError(
                f"{descriptors} descriptors cannot give {self.words} words; expected at least as many."
            )
        self._check(images)
        generator = torch.Generator().manual_seed(self.seed)
        draw = lambda below: torch.randint(below, (descriptors,), generator=generator)  # noqa: E731
        height, width = images.shape[2:]
        which, top, left = (
            draw(n).to(images.device) for n in (len(images), height - self.patch + 1, width - self.patch + 1)
        )
        offset = torch.arange(self.patch, device=images.device)
        rows, columns = top[:, None, None] + offset[:, None], left[:, None, None] + offset
        patches = images[which[:, None, None], :, rows, columns].permute(0, 3, 1, 2)
        found = _contrast_normalised(patches.flatten(1))
        mean = found.mean(0)
        variances, axes = (t.to(found.device) for t in torch.linalg.eigh(torch.cov(found.T).cpu()))  # a small matrix
        whitening = axes / (variances.clamp_min(0) + epsilon).sqrt()
        found = (found - mean) @ whitening
        means = MiniBatchKMeans(
            self.words,
            batch_size=4096,
            n_init=1,  # pyright: ignore[reportArgumentType]
            max_iter=30,
            random_state=self.seed,
            compute_labels=False,
            reassignment_ratio=0.001,
        )
        vocabulary = torch.from_numpy(means.fit(found.cpu().numpy()).cluster_centers_).to(found)
        self.mean, self.whitening, self.vocabulary = mean, whitening, vocabulary
        return self

    @torch.no_grad()
    def transform(self, images: Tensor, chunk: int = 500) -> Tensor:
        """Return the histograms of images, float32 (N, grid * grid * words), on the images' device.

        Args:
            images: uint8 (N, C, H, W).
            chunk: images at a time.

        Raises:
            ParameterError: `fit` was not called, or images are smaller than a patch.
        """
        mean, whitening, vocabulary = self._learned()
        self._check(images)
        # nearest word: argmin |z - v|^2 = argmax z.v - |v|^2 / 2, with the whitening folded into the words
        directions = whitening @ vocabulary.T
        offsets = mean @ directions + vocabulary.square().sum(1) / 2
        return torch.cat([self._histograms(part, directions, offsets) for part in images.split(chunk)])

    def _histograms(self, images: Tensor, directions: Tensor, offsets: Tensor) -> Tensor:
        windows = images.unfold(2, self.patch, self.stride).unfold(3, self.patch, self.stride)
        count, _, down, across = windows.shape[:4]
        patches = windows.permute(0, 2, 3, 1, 4, 5).reshape(count * down * across, -1)
        word = torch.addmm(-offsets, _contrast_normalised(patches), directions).argmax(1)
        cell = lambda n: torch.arange(n, device=images.device) * self.grid // n  # noqa: E731
        region = (cell(down)[:, None] * self.grid + cell(across)).flatten()
        image = torch.arange(count, device=images.device)[:, None]
        bins = (image * self.grid**2 + region).flatten() * self.words + word
        counts = torch.bincount(bins, minlength=count * self.features).view(count, self.features)
        return torch.nn.functional.normalize(counts.float().sqrt())

    def _learned(self) -> tuple[Tensor, Tensor, Tensor]:
        if self.mean is None or self.whitening is None or self.vocabulary is None:
            raise ParameterError("The bag of words has no vocabulary yet; call fit() on training images first.")
        return self.mean, self.whitening, self.vocabulary

    def _check(self, images: Tensor) -> None:
        if images.dtype != torch.uint8 or images.dim() != 4:
            raise ParameterError(
                f"Images are {images.dtype} of shape {tuple(images.shape)}; expected uint8 (N, C, H, W)."
            )
        if min(images.shape[2:]) < self.patch:
            height, width = images.shape[2:]
            raise ParameterError(f"Images of {height}x{width} are smaller than a patch of {self.patch}x{self.patch}.")


def _contrast_normalised(patches: Tensor) -> Tensor:
    """Return patches (N, D) with mean 0 and variance about 1; 10 of 255 squared keeps flat ones flat."""
    patches = patches.float()
    patches = patches - patches.mean(1, keepdim=True)
    return patches * (patches.square().mean(1, keepdim=True) + 10).rsqrt_()
