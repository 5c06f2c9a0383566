"""Does a network know what it knows? Confidence beside accuracy, one temperature, and what may be left out.

A network's confidence in its answer is the largest of its probabilities. It is calibrated if of all answers given
with a confidence of 80 % four in five are right. Scikit-learn has the curve (`sklearn.calibration`), but neither how
many answers a bin holds nor an error with its bias; those stand here, in NumPy and SciPy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import optimize, special
from scipy.stats import binomtest

from ..errors import ParameterError

Equal = Literal["width", "mass"]

#: Temperatures that are tried; a set of answers that are all right would have none at all.
TEMPERATURES = (0.01, 100.0)


def probabilities(scores, temperature: float = 1.0) -> np.ndarray:
    """Return probabilities, float64 (N, classes), of scores before the softmax, divided by a temperature."""
    return special.softmax(_scores(scores) / temperature, axis=1)


def answers(scores, labels, temperature: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Return confidence, float64 (N,), and whether the answer is right, bool (N,), of scores (N, classes)."""
    found = probabilities(scores, temperature)
    return found.max(1), _scores(scores).argmax(1) == _labels(labels, len(found))


def log_loss(scores, labels, temperature: float = 1.0) -> float:
    """Return the mean negative logarithm of the probability of the true class, in nats."""
    each = special.log_softmax(_scores(scores) / temperature, axis=1)
    return float(-np.take_along_axis(each, _labels(labels, len(each))[:, None], axis=1).mean())


def brier(scores, labels, temperature: float = 1.0) -> float:
    """Return Brier's score, the mean over images of the squared distance from the probabilities to the truth, 0..2.

    Brier (1950), "Verification of forecasts expressed in terms of probability", with the sum over classes.
    """
    found = probabilities(scores, temperature)
    found[np.arange(len(found)), _labels(labels, len(found))] -= 1
    return float((found**2).sum(1).mean())


def fit_temperature(scores, labels) -> float:
    """Return the temperature at which the log-loss of scores (N, classes) is least: Guo et al. (2017), section 4.2.

    On held-out images, never on those it is then measured on. Above 1 it makes a network less sure, below 1 surer. It
    divides all scores of an image by one number, so no answer changes. Between the ends of `TEMPERATURES`; an end is
    returned where the least loss lies beyond it.
    """
    low, high = np.log(TEMPERATURES)
    found = optimize.minimize_scalar(
        lambda t: log_loss(scores, labels, float(np.exp(t))), bounds=(low, high), method="bounded",
        options={"xatol": 1e-6},
    )  # fmt: skip
    return float(np.exp(found.x))  # pyright: ignore[reportAttributeAccessIssue]


@dataclass(frozen=True)
class Reliability:
    """Answers in bins of like confidence; all arrays have one entry for each bin that holds an answer.

    Attributes:
        confidence: mean confidence in the bin, 0..1.
        accuracy: share of right answers, 0..1.
        low, high: Wilson's 95 % interval of the share.
        count: answers in the bin.
    """

    confidence: np.ndarray
    accuracy: np.ndarray
    low: np.ndarray
    high: np.ndarray
    count: np.ndarray


def reliability(confidence, right, bins: int = 15, equal: Equal = "mass") -> Reliability:
    """Return a reliability diagram's bins: DeGroot and Fienberg (1983).

    Args:
        confidence: of each answer, 0..1, (N,).
        right: whether it was right, (N,).
        bins: how many.
        equal: bins of equal `mass`, with as many answers each, or of equal `width` between 0 and 1.

    Raises:
        ParameterError: no answers, different lengths, confidences outside 0..1, no bin, or an unknown kind of bins.
    """
    confidence, right = _checked(confidence, right)
    where, size = _bins(confidence, bins, equal)
    count = np.bincount(where, minlength=size)
    filled = count > 0
    count, mean, hits = (
        np.bincount(where, weights, size)[filled] for weights in (None, confidence, right.astype(float))
    )
    ends = [binomtest(int(k), int(n)).proportion_ci(0.95, "wilson") for k, n in zip(hits, count, strict=True)]
    low, high = np.array([[end.low, end.high] for end in ends]).T
    return Reliability(mean / count, hits / count, low, high, count)


def calibration_error(confidence, right, bins: int = 15, equal: Equal = "width") -> float:
    """Return the expected calibration error, 0..1: the mean distance of confidence and accuracy over bins.

    Naeini et al. (2015); with 15 bins of equal width as in Guo et al. (2017). In a finite sample it is too large: the
    accuracy of a bin differs from its confidence by chance, and distances do not cancel. See `error_if_calibrated`.

    Args:
        confidence, right, bins, equal: as for `reliability`.

    Raises:
        ParameterError: as for `reliability`.
    """
    confidence, right = _checked(confidence, right)
    where, size = _bins(confidence, bins, equal)
    return float(np.abs(np.bincount(where, confidence - right, size)).sum() / len(right))


def error_if_calibrated(confidence, bins: int = 15, equal: Equal = "width", draws: int = 200, seed: int = 0) -> float:
    """Return the calibration error that a perfectly calibrated network of the same confidences shows on average.

    Each answer is right with a probability that is its confidence, `draws` times. Compare Roelofs et al. (2022),
    "Mitigating bias in calibration error estimation": the bias is largest where there is nothing to find.

    Raises:
        ParameterError: as for `reliability`.
    """
    confidence, _ = _checked(confidence, np.zeros(len(confidence), bool))
    where, size = _bins(confidence, bins, equal)
    random = np.random.default_rng(seed)
    drawn = [confidence - (random.random(len(confidence)) < confidence) for _ in range(draws)]
    return float(np.mean([np.abs(np.bincount(where, gap, size)).sum() for gap in drawn]) / len(confidence))


def debiased_error(confidence, right, bins: int = 15, equal: Equal = "width") -> float:
    """Return the calibration error minus that of a calibrated network of the same confidences; may be below 0.

    It is zero on average where the network is calibrated. Where it is not, the true bias is smaller, so this is low
    by at most what was taken away.

    Raises:
        ParameterError: as for `reliability`.
    """
    return calibration_error(confidence, right, bins, equal) - error_if_calibrated(confidence, bins, equal)


def selective_accuracy(confidence, right) -> np.ndarray:
    """Return the accuracy, 0..1, of the 1, 2, ..., N answers that the network is surest of, float64 (N,).

    Answers of one confidence come in no order: each counts as their share of right ones.

    Raises:
        ParameterError: as for `reliability`.
    """
    confidence, right = _checked(confidence, right)
    _, group, count = np.unique(-confidence, return_inverse=True, return_counts=True)
    shared = (np.bincount(group, right) / count)[group]
    return np.cumsum(shared[np.argsort(group, kind="stable")]) / np.arange(1, len(right) + 1)


def area_under_risk(confidence, right) -> float:
    """Return the mean error, 0..1, over all coverages: Geifman and El-Yaniv (2017), "Selective classification".

    Small where the network is right often, and where what it is least sure of is what it gets wrong.

    Raises:
        ParameterError: as for `reliability`.
    """
    return float(1 - selective_accuracy(confidence, right).mean())


def average(several) -> np.ndarray:
    """Return scores (N, classes) whose softmax is the mean of the networks' probabilities: Lakshminarayanan (2017).

    Args:
        several: scores (N, classes) of each network.
    """
    each = [special.log_softmax(_scores(scores), axis=1) for scores in several]
    return special.logsumexp(each, axis=0) - np.log(len(each))


def _bins(confidence: np.ndarray, bins: int, equal: str) -> tuple[np.ndarray, int]:
    """Return the number of each answer's bin, (N,), and how many bins there are."""
    if bins < 1 or equal not in ("width", "mass"):
        raise ParameterError(f"Bins are {bins} of equal {equal!r}; expected 1 or more of equal 'width' or 'mass'.")
    if equal == "width":  # the upper edge belongs to a bin, as in Guo et al.
        return np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1), bins
    place = np.argsort(np.argsort(confidence, kind="stable"), kind="stable")
    return place * bins // len(confidence), bins


def _scores(scores) -> np.ndarray:
    found = np.asarray(scores, dtype=np.float64)
    if found.ndim != 2 or not len(found):
        raise ParameterError(
            f"Scores have the shape {found.shape}; expected one row an image and one column a class."
        )
    return found


def _labels(labels, length: int) -> np.ndarray:
    found = np.asarray(labels)
    if found.shape != (length,):
        raise ParameterError(f"There are labels of shape {found.shape} for {length} images; expected one an image.")
    return found.astype(int)


def _checked(confidence, right) -> tuple[np.ndarray, np.ndarray]:
    confidence, right = np.asarray(confidence, dtype=np.float64), np.asarray(right, dtype=bool)
    if confidence.shape != right.shape or confidence.ndim != 1 or not len(right):
        raise ParameterError(
            f"There are confidences of shape {confidence.shape} and answers of shape {right.shape}; expected one of "
            "each an image, and at least one."
        )
    if not ((confidence >= 0) & (confidence <= 1 + 1e-9)).all():
        raise ParameterError("A confidence lies outside 0 to 1; expected the largest probability of each image.")
    return confidence, right
