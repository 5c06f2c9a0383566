"""How far two trainings of one recipe differ by chance, and how much of it is the finite test set.

Two networks that are equally good on all images there could be still differ on 10,000 of them: each gets others of
the doubtful ones right. Jordan (2023), "On the variance of neural network training with respect to test sets and
distributions", takes the two apart.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.stats import chi2

from ..errors import ParameterError
from .stats import Summary


@dataclass(frozen=True)
class Variation:
    """Variances of test accuracy, as a share of one, over trainings that differ by their seed alone.

    Attributes:
        runs: how many trainings.
        images: how many test images.
        accuracy: the mean over runs, 0..1.
        observed: variance of the accuracy over runs.
        independent: what it would be if every image were got right by a coin of its own: the sum over images of the
            variance over runs of being right, divided by the squared number of images.
        binomial: variance of one network's accuracy over other test sets of the same size.
    """

    runs: int
    images: int
    accuracy: float
    observed: float
    independent: float
    binomial: float

    @property
    def between(self) -> float:
        """Variance of the networks' accuracies on all images there could be; unbiased, so it may be below 0."""
        return self._between(self.observed)

    def _between(self, observed: float) -> float:
        return (observed - self.independent) * self.images / (self.images - 1)

    def spread(self) -> Summary:
        """Return the standard deviation over runs, in points, with a 95 % interval."""
        return self._with_interval(lambda v: 100 * math.sqrt(v))

    def spread_between(self) -> Summary:
        """Return the standard deviation between the networks in truth, in points, 0 where the estimate is below."""
        return self._with_interval(lambda v: 100 * math.sqrt(max(0.0, self._between(v))))

    def ratio(self) -> Summary:
        """Return that standard deviation over what independent coins would give, with a 95 % interval."""
        return self._with_interval(lambda v: math.sqrt(v / self.independent) if self.independent else math.nan)

    def share_between(self) -> Summary:
        """Return the share of the observed variance, in percent, that is between the networks, with an interval."""
        return self._with_interval(lambda v: 100 * self._between(v) / v if v else math.nan)

    def _with_interval(self, of) -> Summary:
        """Return a growing function of the observed variance: its interval is that of a normal variance.

        The variance of independent coins is a mean over thousands of images, and counts as known.
        """
        free = self.runs - 1
        low, high = (of(self.observed * free / chi2.ppf(q, free)) for q in (0.975, 0.025))
        method = f"95 % interval of a normal variance over {self.runs} runs"
        return Summary(of(self.observed), math.nan, low, high, self.runs, method)


def variation(right) -> Variation:
    """Return how accuracies of trainings vary.

    Args:
        right: whether a run got an image right, bool (runs, images).

    Raises:
        ParameterError: fewer than two runs or images.
    """
    right = np.asarray(right, dtype=np.float64)
    if right.ndim != 2 or min(right.shape) < 2:
        raise ParameterError(
            f"Answers have the shape {right.shape}; expected two or more runs of two or more images."
        )
    runs, images = right.shape
    accuracy = float(right.mean())
    observed = float(right.mean(1).var(ddof=1))
    independent = float(right.var(axis=0, ddof=1).sum() / images**2)
    return Variation(runs, images, accuracy, observed, independent, accuracy * (1 - accuracy) / images)


def disagreement(chosen) -> list[float]:
    """Return the share of images, 0..1, on which runs 0 and 1, 2 and 3, ... choose different classes.

    Args:
        chosen: class of each image by each run, int (runs, images); a last run without a partner is left out.
    """
    chosen = np.asarray(chosen)
    if chosen.ndim != 2 or len(chosen) < 2:
        raise ParameterError(f"Answers have the shape {chosen.shape}; expected two or more runs, one row each.")
    last = len(chosen) // 2 * 2
    return (chosen[0:last:2] != chosen[1:last:2]).mean(1).tolist()
