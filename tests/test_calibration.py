"""Calibration and variation between runs, on networks whose truth is known because it was drawn."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest
from scipy import special, stats
from sklearn.calibration import calibration_curve
from sklearn.metrics import log_loss as sklearn_log_loss

from cifar_utils.errors import ParameterError
from cifar_utils.measure import calibration, variation


def calibrated(n: int, seed: int = 0, spread: float = 2.0):
    """Return scores (n, 10), and labels drawn from exactly the probabilities that they say."""
    random = np.random.default_rng(seed)
    scores = spread * random.normal(size=(n, 10))
    labels = (special.softmax(scores, 1).cumsum(1) < random.random((n, 1))).sum(1)
    return scores, labels


SCORES, LABELS = calibrated(20_000)
SURE, RIGHT = calibration.answers(SCORES, LABELS)


# ---- probabilities, losses, temperature ---------------------------------------------------------


def test_losses_are_those_of_scikit_learn_and_of_the_definition():
    found = special.softmax(SCORES / 1.7, 1)
    assert calibration.log_loss(SCORES, LABELS, 1.7) == pytest.approx(sklearn_log_loss(LABELS, found))
    assert calibration.brier(SCORES, LABELS, 1.7) == pytest.approx(((found - np.eye(10)[LABELS]) ** 2).sum(1).mean())
    assert calibration.brier(np.zeros((3, 10)), np.array([0, 1, 2])) == pytest.approx(0.9)


@pytest.mark.parametrize("factor", [0.3, 1.0, 3.0])
def test_scores_multiplied_by_a_number_have_it_as_their_temperature(factor):
    assert calibration.fit_temperature(factor * SCORES, LABELS) == pytest.approx(factor, rel=0.03)
    # the same minimum, and not only about the same number
    own = calibration.fit_temperature(SCORES, LABELS)
    assert calibration.fit_temperature(factor * SCORES, LABELS) == pytest.approx(factor * own, rel=1e-4)


def test_at_the_temperature_the_loss_is_least_and_no_answer_is_another():
    wrong = 3 * SCORES
    best = calibration.fit_temperature(wrong, LABELS)
    at = [calibration.log_loss(wrong, LABELS, best * factor) for factor in (0.97, 1, 1.03)]
    assert at[1] < min(at[0], at[2])
    before, after = (calibration.answers(wrong, LABELS, t) for t in (1, best))
    assert (before[1] == after[1]).all() and before[0].mean() > after[0].mean()


def test_answers_that_are_all_right_have_a_temperature_at_the_end_of_the_range():
    certain = 5 * np.eye(10)
    assert calibration.fit_temperature(certain, np.arange(10)) < 0.2


def test_float16_scores_of_the_store_are_taken():
    half = SCORES[:500].astype(np.float16)
    assert calibration.log_loss(half, LABELS[:500]) == pytest.approx(
        calibration.log_loss(SCORES[:500], LABELS[:500]), 1e-3
    )


# ---- bins and errors ----------------------------------------------------------------------------


@pytest.mark.parametrize(("equal", "strategy"), [("width", "uniform"), ("mass", "quantile")])
def test_bins_are_those_of_scikit_learn(equal, strategy):
    found = calibration.reliability(SURE, RIGHT, 10, equal)
    accuracy, confidence = calibration_curve(RIGHT, SURE, n_bins=10, strategy=strategy)
    assert found.accuracy == pytest.approx(accuracy, abs=1e-3) and found.confidence == pytest.approx(
        confidence, abs=1e-3
    )
    assert found.count.sum() == len(RIGHT) and (equal == "width" or set(found.count) == {2000})


def test_wilsons_interval_is_that_of_the_formula():
    found = calibration.reliability(np.full(50, 0.8), np.arange(50) < 41, 1)
    z, p, n = NormalDist().inv_cdf(0.975), 41 / 50, 50
    middle, half = (
        (p + z * z / 2 / n) / (1 + z * z / n),
        z / (1 + z * z / n) * np.sqrt(p * (1 - p) / n + (z / 2 / n) ** 2),
    )
    assert (found.low[0], found.high[0]) == (pytest.approx(middle - half), pytest.approx(middle + half))


def test_the_error_of_a_few_answers_is_that_on_paper():
    confidence, right = [0.95, 0.95, 0.55, 0.55], [True, False, True, True]
    # bins of a tenth: |0.95 - 0.5| and |0.55 - 1|, half of the answers each; one bin: |0.75 - 0.75|
    assert calibration.calibration_error(confidence, right, 10) == pytest.approx(0.45)
    assert calibration.calibration_error(confidence, right, 2, "mass") == pytest.approx(0.45)
    assert calibration.calibration_error(confidence, right, 1) == pytest.approx(0)


def test_a_calibrated_network_has_an_error_that_falls_with_the_images_and_none_without_its_bias():
    raw, bias = [], []
    for n in (500, 5000):
        each = [calibration.answers(*calibrated(n, seed)) for seed in range(20)]
        raw.append(np.mean([calibration.calibration_error(*a) for a in each]))
        bias.append(np.mean([calibration.error_if_calibrated(a[0], draws=50) for a in each]))
        without = [calibration.debiased_error(*a) for a in each]
        assert abs(np.mean(without)) < 3 * stats.sem(without) < 0.01
    assert raw == pytest.approx(bias, rel=0.15) and raw[0] > 0.02
    assert raw[0] / raw[1] == pytest.approx(np.sqrt(10), rel=0.2)


def test_the_bias_is_that_of_a_half_normal_distribution():
    """A bin is a mean of independent coins, nearly normal: its distance is sqrt(2 / pi) of its deviation."""
    sure = np.full(10_000, 0.75)
    expected = np.sqrt(2 / np.pi * 0.75 * 0.25 / 10_000)
    assert calibration.error_if_calibrated(sure, 15, draws=2000) == pytest.approx(expected, rel=0.06)
    # in k bins of equal mass sqrt(k) times that
    assert calibration.error_if_calibrated(sure, 16, "mass", 500) == pytest.approx(4 * expected, rel=0.06)


def test_a_network_that_is_ten_points_too_sure_has_an_error_of_ten_points():
    random = np.random.default_rng(3)
    sure = random.uniform(0.5, 1, 50_000)
    right = random.random(50_000) < sure - 0.1
    assert calibration.calibration_error(sure, right) == pytest.approx(0.1, abs=0.005)
    assert 0.09 < calibration.debiased_error(sure, right) < calibration.calibration_error(sure, right)


# ---- what may be left out -----------------------------------------------------------------------


def test_accuracy_over_coverage_begins_with_the_surest_answers():
    found = calibration.selective_accuracy([0.3, 0.9, 0.6, 0.8], [False, True, False, True])
    assert found == pytest.approx([1, 1, 2 / 3, 1 / 2])
    assert calibration.area_under_risk([0.3, 0.9, 0.6, 0.8], [False, True, False, True]) == pytest.approx(
        (1 / 3 + 1 / 2) / 4
    )


def test_answers_of_one_confidence_have_no_order():
    assert calibration.selective_accuracy([0.5] * 4, [True, False, False, True]) == pytest.approx([0.5] * 4)


def test_a_temperature_leaves_every_coverage_of_two_classes_as_it_is():
    two = SCORES[:, :2]
    labels = LABELS % 2
    one, other = (calibration.selective_accuracy(*calibration.answers(two, labels, t)) for t in (1, 3))
    assert one == pytest.approx(other)


def test_an_average_of_networks_is_of_their_probabilities():
    found = special.softmax(calibration.average([SCORES[:50], 2 * SCORES[50:100]]), 1)
    assert found == pytest.approx((special.softmax(SCORES[:50], 1) + special.softmax(2 * SCORES[50:100], 1)) / 2)
    both = [SCORES[:1000], np.roll(SCORES[:1000], 1, 1)]  # by Jensen's inequality, of any two networks
    assert calibration.log_loss(calibration.average(both), LABELS[:1000]) < np.mean(
        [calibration.log_loss(scores, LABELS[:1000]) for scores in both]
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: calibration.reliability([0.5], [True, False]), "expected one of each an image"),
        (lambda: calibration.reliability([], []), "at least one"),
        (lambda: calibration.calibration_error([50.0], [True]), "outside 0 to 1"),
        (lambda: calibration.calibration_error([0.5], [True], 0), "expected 1 or more"),
        (lambda: calibration.reliability([0.5], [True], 2, "size"), "'width' or 'mass'"),
        (lambda: calibration.log_loss([1.0, 2.0], [0]), "one row an image"),
        (lambda: calibration.log_loss([[1.0, 2.0]], [0, 1]), "expected one an image"),
        (lambda: variation.variation([[True, False]]), "two or more runs"),
        (lambda: variation.disagreement([[1, 2]]), "two or more runs"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_sentence(call, message):
    with pytest.raises(ParameterError, match=message):
        call()


# ---- between runs -------------------------------------------------------------------------------


def test_independent_coins_leave_nothing_between_the_networks():
    random = np.random.default_rng(0)
    p = random.beta(2, 0.5, 2000)
    found = [variation.variation(random.random((40, 2000)) < p) for _ in range(40)]
    assert np.mean([f.observed for f in found]) == pytest.approx((p * (1 - p)).sum() / 2000**2, rel=0.1)
    between = [f.between for f in found]
    assert abs(np.mean(between)) < 3 * stats.sem(between)
    inside = [f.ratio().low < 1 < f.ratio().high for f in found]
    assert np.mean(inside) > 0.85
    assert found[0].binomial > found[0].independent  # images that are always right never move


def test_networks_that_are_better_or_worse_in_truth_are_found():
    random = np.random.default_rng(1)
    skill = random.normal(0.7, 0.03, 400)
    found = variation.variation(random.random((400, 2000)) < skill[:, None])
    assert np.sqrt(found.between) == pytest.approx(0.03, rel=0.15)
    assert found.spread_between().mean == pytest.approx(100 * np.sqrt(found.between))
    assert found.spread_between().low < 100 * skill.std(ddof=1) < found.spread_between().high
    assert found.share_between().low > 50 and found.ratio().low > 1
    assert found.spread().mean == pytest.approx(100 * np.sqrt(found.observed))


def test_what_is_between_is_the_covariance_of_two_halves():
    """The estimate is the mean covariance of any two images, so that of the halves over many splits is the same."""
    random = np.random.default_rng(2)
    right = random.random((30, 200)) < random.normal(0.7, 0.1, 30)[:, None]
    covariances = []
    for _ in range(4000):
        order = random.permutation(200)
        one, other = right[:, order[:100]].mean(1), right[:, order[100:]].mean(1)
        covariances.append(np.cov(one, other)[0, 1])
    assert np.mean(covariances) == pytest.approx(variation.variation(right).between, rel=0.01)


def test_disagreement_is_between_neighbours():
    assert variation.disagreement([[1, 2, 3, 4], [1, 2, 0, 0], [1, 1, 1, 1], [1, 1, 1, 1], [0, 0, 0, 0]]) == [0.5, 0]
