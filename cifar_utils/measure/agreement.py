"""How alike two ways of making mistakes are: which classes are taken for which, and on which images.

Images are weighted, so that one product with many draws of a bootstrap gives all of a number's draws at once: the
first entry of every result is that of the images as they are.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import ParameterError
from .stats import Summary


def image_draws(count: int, draws: int, seed: int = 0) -> np.ndarray:
    """Return how often each image is drawn, float32 (1 + draws, count): once, then at random with replacement."""
    rng = np.random.default_rng(seed)
    drawn = np.stack([np.bincount(rng.integers(count, size=count), minlength=count) for _ in range(draws)])
    return np.concatenate([np.ones((1, count)), drawn]).astype(np.float32)


def interval(values: np.ndarray, over: str) -> Summary:
    """Return a bootstrap's first value, and around it the range that 95 % of the others have around their mean.

    Draws with replacement are noisier than what they are drawn from, which pulls a correlation of counts towards
    zero; so they tell how far a value may be off, and not where it is.
    """
    value, rest = float(values[0]), values[1:]
    low, high = (float(bound) - float(rest.mean()) for bound in np.quantile(rest, (0.025, 0.975)))
    method = f"95 % bootstrap interval over {over}"
    return Summary(value, float(rest.std(ddof=1)), value + low, value + high, len(rest), method)


def mean_of(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the mean of one number for each image, (1 + draws,), in every draw."""
    return (weights @ values.astype(np.float32)).astype(np.float64) / weights.sum(1, dtype=np.float64)


def over_seeds(each: Sequence[np.ndarray], seed: int = 0) -> np.ndarray:
    """Return the mean over trained networks, (1 + draws, ...): of all, then of as many drawn with replacement.

    Args:
        each: for every network, (1 + draws, ...).
        seed: of the draw.
    """
    table = np.stack(list(each))
    n, draws = table.shape[:2]
    chosen = np.random.default_rng(seed).integers(n, size=(n, draws))
    chosen[:, 0] = np.arange(n)
    return table[chosen, np.arange(draws)].mean(0)


def confusion(labels: np.ndarray, answers: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return confusion matrices, float64 (1 + draws, classes, classes), rows true: shares of each class's images.

    Args:
        labels: int (N,).
        answers: one class for each image, int (N,), or the shares of several answers, float (N, classes).
        weights: of the images, (1 + draws, N).

    Raises:
        ParameterError: a class has no image.
    """
    classes = int(labels.max()) + 1 if answers.ndim == 1 else answers.shape[1]
    classes = max(classes, int(answers.max()) + 1) if answers.ndim == 1 else classes
    told = np.eye(classes, dtype=np.float32)[answers] if answers.ndim == 1 else answers.astype(np.float32)
    rows = []
    for label in range(classes):
        of_class = labels == label
        if not of_class.any():
            raise ParameterError(f"No image is of class {label}; a confusion matrix needs images of every class.")
        drawn = weights[:, of_class]
        rows.append((drawn @ told[of_class]) / np.maximum(drawn.sum(1, keepdims=True), 1))
    return np.stack(rows, 1).astype(np.float64)


def off_diagonal(matrices: np.ndarray) -> np.ndarray:
    """Return what stands off the diagonal, (..., classes * (classes - 1))."""
    return matrices[..., ~np.eye(matrices.shape[-1], dtype=bool)]


def alike(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return how alike confusions are, (1 + draws,): the rank correlation of what stands off the diagonals.

    One where both matrices put all pairs of classes into the same order, however many mistakes there are; zero where
    the order of one says nothing about that of the other, and where all mistakes of one are equally frequent.
    """
    from scipy.stats import rankdata

    first, second = (rankdata(off_diagonal(each), axis=1) for each in (a, b))
    first, second = (each - each.mean(1, keepdims=True) for each in (first, second))
    size = np.sqrt((first**2).sum(1) * (second**2).sum(1))
    return (first * second).sum(1) / np.where(size > 0, size, np.inf)


def spread_evenly(matrices: np.ndarray) -> np.ndarray:
    """Return matrices with the same accuracy in every class, whose mistakes fall evenly on the other classes."""
    return _spread(matrices, np.ones_like(matrices))


def spread_by_frequency(matrices: np.ndarray) -> np.ndarray:
    """Return matrices with the same accuracy in every class, whose mistakes fall as often on a class as all do."""
    wrong = matrices * (1 - np.eye(matrices.shape[-1]))
    return _spread(matrices, np.broadcast_to(wrong.sum(-2, keepdims=True), matrices.shape))


def _spread(matrices: np.ndarray, towards: np.ndarray) -> np.ndarray:
    unit = np.eye(matrices.shape[-1])
    kept, aside = matrices * unit, towards * (1 - unit)
    mistakes = 1 - kept.sum(-1, keepdims=True)
    return kept + mistakes * aside / np.maximum(aside.sum(-1, keepdims=True), 1e-12)


def thinned(matrices: np.ndarray, to: float, images: int, seed: int = 0) -> np.ndarray:
    """Return matrices of which so many mistakes are kept at random that `to` percent of the images are wrong.

    What is rare is less certain: two networks are compared fairly where they made equally many mistakes.

    Args:
        matrices: (1 + draws, classes, classes), shares of each class's images.
        to: percent of images; matrices that have fewer mistakes stay as they are.
        images: of each class, whose mistakes are counted.
        seed: of the draw.
    """
    unit = np.eye(matrices.shape[-1])
    wrong = matrices * (1 - unit)
    keep = np.minimum(to / 100 / np.maximum(wrong.sum((1, 2)) / len(unit), 1e-12), 1.0)
    counts = (wrong * images).round().astype(np.int64)
    kept = np.random.default_rng(seed).binomial(counts, keep[:, None, None]) / images
    return kept + unit * (1 - kept.sum(-1, keepdims=True))


def error_consistency(
    a: np.ndarray, b: np.ndarray, weights: np.ndarray, both: np.ndarray | None = None
) -> np.ndarray:
    """Return Cohen's kappa of being right, (1 + draws,): Geirhos and others (2020).

    Zero where two are right on the same images as often as by chance, given how often each is right; one where they
    always are.

    Args:
        a, b: float (N,), whether each is right, or how likely.
        weights: of the images, (1 + draws, N).
        both: float (N,), how likely both are right on an image, where they do not answer independently.
    """
    both = a * b if both is None else both
    observed = mean_of(1 - a - b + 2 * both, weights)
    one, other = mean_of(a, weights), mean_of(b, weights)
    chance = one * other + (1 - one) * (1 - other)
    return (observed - chance) / np.maximum(1 - chance, 1e-12)


def entropy(shares: np.ndarray) -> np.ndarray:
    """Return the entropy of distributions (..., classes) in nats, (...)."""
    return -(shares * np.log(np.where(shares > 0, shares, 1))).sum(-1)


def rank_correlation(a: np.ndarray, b: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the correlation over images, (1 + draws,), of two numbers' ranks among all images."""
    from scipy.stats import rankdata

    first, second = (rankdata(each) for each in (a, b))
    first, second = ((each - each.mean()) / max(float(each.std()), 1e-12) for each in (first, second))
    mean = lambda values: mean_of(values, weights)  # noqa: E731
    covariance = mean(first * second) - mean(first) * mean(second)
    spread = (mean(first**2) - mean(first) ** 2) * (mean(second**2) - mean(second) ** 2)
    return covariance / np.sqrt(np.maximum(spread, 1e-12))
