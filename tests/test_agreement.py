"""How alike mistakes are, against scikit-learn, SciPy and arithmetic on paper."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import cohen_kappa_score, confusion_matrix

from cifar_utils.errors import ParameterError
from cifar_utils.measure import agreement

ONE = lambda n: np.ones((1, n), dtype=np.float32)  # noqa: E731


@pytest.fixture
def answers():
    rng = np.random.default_rng(0)
    labels = rng.integers(4, size=400)
    return labels, np.where(rng.random(400) < 0.6, labels, rng.integers(4, size=400))


def test_draws_are_of_all_images_first_and_then_with_replacement():
    weights = agreement.image_draws(50, 200)
    assert weights.shape == (201, 50) and (weights[0] == 1).all() and (weights.sum(1) == 50).all()
    values = np.random.default_rng(1).normal(size=50)
    found = agreement.interval(agreement.mean_of(values, agreement.image_draws(50, 4000)), "50 images")
    assert found.mean == pytest.approx(values.mean(), abs=1e-6)
    expected = stats.bootstrap((values,), np.mean, method="percentile", rng=np.random.default_rng(0))
    assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval), abs=0.02)


def test_an_interval_has_the_spread_of_the_draws_around_the_value():
    found = agreement.interval(np.array([5.0, *np.linspace(0, 2, 201)]), "x")
    assert (found.mean, found.low, found.high) == pytest.approx((5, 4.05, 5.95)) and found.method.endswith("over x")


def test_a_confusion_matrix_is_that_of_scikit_learn(answers):
    labels, guessed = answers
    found = agreement.confusion(labels, guessed, ONE(400))[0]
    assert found == pytest.approx(confusion_matrix(labels, guessed, normalize="true"), abs=1e-6)
    shares = np.eye(4)[guessed]
    assert agreement.confusion(labels, shares, ONE(400))[0] == pytest.approx(found)
    weights = agreement.image_draws(400, 3)
    again = np.repeat(np.arange(400), weights[2].astype(int))
    expected = confusion_matrix(labels[again], guessed[again], normalize="true")
    assert agreement.confusion(labels, guessed, weights)[2] == pytest.approx(expected, abs=1e-6)
    with pytest.raises(ParameterError, match="No image is of class 0"):
        agreement.confusion(np.array([1, 1]), np.array([0, 1]), ONE(2))


def test_likeness_is_the_rank_correlation_off_the_diagonal():
    a, b = np.random.default_rng(2).random((2, 1, 5, 5))
    off = ~np.eye(5, dtype=bool)
    assert agreement.alike(a, b)[0] == pytest.approx(stats.spearmanr(a[0][off], b[0][off])[0])
    assert agreement.alike(a, np.exp(3 * a))[0] == pytest.approx(1), "only the order of pairs counts"
    assert agreement.alike(a, np.ones((1, 5, 5)))[0] == 0


def test_spread_mistakes_keep_every_classes_accuracy():
    matrix = np.array([[[0.8, 0.2, 0.0], [0.1, 0.6, 0.3], [0.05, 0.05, 0.9]]])
    even, often = agreement.spread_evenly(matrix)[0], agreement.spread_by_frequency(matrix)[0]
    assert even == pytest.approx(np.array([[0.8, 0.1, 0.1], [0.2, 0.6, 0.2], [0.05, 0.05, 0.9]]))
    assert often.diagonal() == pytest.approx(matrix[0].diagonal()) and often.sum(1) == pytest.approx(np.ones(3))
    # wrong answers fall on the classes as 0.15, 0.25 and 0.3
    assert often[0, 1:] == pytest.approx(0.2 * np.array([0.25, 0.3]) / 0.55)


def test_thinning_keeps_so_many_mistakes_and_no_pair_more_than_another():
    matrix = np.full((400, 3, 3), 0.2) + 0.4 * np.eye(3)
    found = agreement.thinned(matrix, to=10, images=1000)
    assert found.sum(2) == pytest.approx(np.ones((400, 3)))
    wrong = agreement.off_diagonal(found)
    assert wrong.sum(1).mean() / 3 == pytest.approx(0.1, abs=1e-3)
    assert wrong.mean(0) == pytest.approx(np.full(6, 0.05), abs=2e-3)
    assert agreement.thinned(matrix, to=60, images=1000) == pytest.approx(matrix), "there are no more than 40 %"


def test_error_consistency_is_cohens_kappa():
    rng = np.random.default_rng(3)
    a = rng.random(500) < 0.7
    b = np.where(rng.random(500) < 0.5, a, rng.random(500) < 0.8)
    found = agreement.error_consistency(a.astype(float), b.astype(float), ONE(500))[0]
    assert found == pytest.approx(cohen_kappa_score(a, b), abs=1e-6)
    assert agreement.error_consistency(a.astype(float), a.astype(float), ONE(500))[0] == pytest.approx(1, abs=1e-6)
    sure = agreement.error_consistency(np.full(500, 0.7), np.full(500, 0.7), ONE(500))[0]
    assert sure == pytest.approx(0, abs=1e-6), "whoever is right by chance alone agrees by chance"


def test_what_is_likely_gives_the_kappa_of_many_throws():
    rng = np.random.default_rng(4)
    a, b = rng.random(2000), rng.random(2000)
    thrown = [cohen_kappa_score(rng.random(2000) < a, rng.random(2000) < (a + b) / 2) for _ in range(40)]
    found = agreement.error_consistency(a, (a + b) / 2, ONE(2000))[0]
    assert found == pytest.approx(np.mean(thrown), abs=0.02)


def test_entropy_and_rank_correlation_are_scipys():
    shares = np.random.default_rng(5).dirichlet(np.ones(4), 100)
    assert agreement.entropy(shares) == pytest.approx(stats.entropy(shares, axis=1))
    assert agreement.entropy(np.eye(4)) == pytest.approx(np.zeros(4))
    a, b = shares[:, 0], shares[:, 1].round(1)
    assert agreement.rank_correlation(a, b, ONE(100))[0] == pytest.approx(stats.spearmanr(a, b)[0], abs=1e-5)


def test_seeds_are_drawn_with_the_images():
    each = [np.array([[i] * 500], dtype=float)[0] for i in (1, 2, 6)]
    found = agreement.over_seeds(each)
    assert found[0] == 3 and set(np.round(found * 3).astype(int)) <= set(range(3, 19)) and found.std() > 1
