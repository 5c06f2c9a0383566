from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats as sp

from cifar_utils.errors import ParameterError
from cifar_utils.measure.stats import bootstrap, difference, jitter, percent, repeat, summarise

VALUES = [51.2, 49.8, 50.4, 52.1, 50.0]
OTHER = [50.1, 49.5, 49.9, 51.0, 49.1]


def test_summary_equals_scipys_t_interval():
    found = summarise(VALUES)
    low, high = sp.t.interval(0.95, 4, loc=np.mean(VALUES), scale=sp.sem(VALUES))
    assert found.mean == pytest.approx(np.mean(VALUES)) and found.n == 5
    assert found.std == pytest.approx(np.std(VALUES, ddof=1))
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))
    assert found.has_interval and found.method == "95 % t interval over 5 seeds"


def test_one_value_has_no_interval():
    found = summarise([3.0])
    assert found.mean == 3.0 and math.isnan(found.std) and not found.has_interval
    assert found.method == "1 seed, no interval"


def test_a_diverged_seed_leaves_no_interval():
    found = summarise([1.0, math.nan])
    assert math.isnan(found.mean) and not found.has_interval


def test_nothing_to_summarise():
    with pytest.raises(ParameterError, match="no values"):
        summarise([])
    with pytest.raises(ParameterError, match="no values"):
        bootstrap([], "images")
    with pytest.raises(ParameterError, match="no values"):
        difference([], [1.0], paired=False)


def test_paired_difference_equals_scipy():
    found = difference(VALUES, OTHER)
    ci = sp.ttest_rel(VALUES, OTHER).confidence_interval(0.95)
    assert found.mean == pytest.approx(np.mean(VALUES) - np.mean(OTHER))
    assert (found.low, found.high) == (pytest.approx(ci.low), pytest.approx(ci.high))
    assert "paired" in found.method and found.n == 5


def test_welch_difference_equals_scipy():
    found = difference(VALUES, OTHER[:3], paired=False)
    ci = sp.ttest_ind(VALUES, OTHER[:3], equal_var=False).confidence_interval(0.95)
    assert found.mean == pytest.approx(np.mean(VALUES) - np.mean(OTHER[:3]))
    assert (found.low, found.high) == (pytest.approx(ci.low), pytest.approx(ci.high))
    assert "Welch" in found.method and "5 and 3" in found.method


def test_welch_difference_of_single_values_has_no_interval():
    found = difference([2.0], OTHER, paired=False)
    assert found.mean == pytest.approx(2 - np.mean(OTHER)) and not found.has_interval


def test_paired_difference_of_unequal_lengths():
    with pytest.raises(ParameterError, match="5 and 3 values"):
        difference(VALUES, OTHER[:3])


def test_bootstrap_interval_covers_the_mean_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = sum(b.low <= 0.3 <= b.high for b in
                  (bootstrap(rng.random(200) < 0.3, "images", draws=300) for _ in range(100)))  # fmt: skip
    assert 88 <= covered <= 99


def test_bootstrap_is_seeded_and_close_to_theory():
    correct = np.arange(10_000) % 10 < 6
    a, b = bootstrap(correct, "test images"), bootstrap(correct, "test images")
    assert a == b and a.mean == pytest.approx(0.6) and a.n == 10_000
    error = math.sqrt(0.6 * 0.4 / 10_000)
    assert a.low == pytest.approx(0.6 - 1.96 * error, abs=0.1 * error * 1.96)
    assert a.high == pytest.approx(0.6 + 1.96 * error, abs=0.1 * error * 1.96)
    assert "10,000 test images" in a.method


def test_repeat():
    assert repeat(lambda seed: seed * 2, 3) == [0, 2, 4]
    assert repeat(lambda seed: seed, [7, 5]) == [7, 5]
    for seeds, told in ((0, "0"), (-1, "-1"), ([], r"\[\]")):
        with pytest.raises(ParameterError, match=f"seeds is {told}; expected 1 or more"):
            repeat(lambda seed: seed, seeds)


def test_an_interval_is_written_only_where_there_is_one():
    assert summarise([1.0, 3.0]).interval() == " [−10.7, 14.7]"
    assert summarise([1.0, 3.0]).interval("+.2f") == " [−10.71, +14.71]"
    assert summarise([1.0]).interval() == "" == summarise([1.0, math.nan]).interval()


def test_shares_are_summarised_in_percent():
    found, plain = percent([0.61, 0.63, 0.6]), summarise([61.0, 63.0, 60.0])
    assert (found.mean, found.low, found.high) == pytest.approx((plain.mean, plain.low, plain.high))
    assert percent(np.array([True, False]), "images").mean == 50
    assert not percent([0.5]).has_interval
    with pytest.raises(ParameterError, match=r"from -0.1 to 0.3; expected shares between 0 and 1"):
        percent([-0.1, 0.3])
    wild, tame = percent([0.5, 0.9, 0.9]), summarise([50.0, 90.0, 90.0])
    assert wild.high == 100 < tame.high and wild.low == tame.low and wild.method.endswith("of 0 to 100 %")


def test_a_summary_is_scaled_and_shifted_as_its_values_would_be():
    values = np.array(VALUES)
    found = summarise(values)
    for made, same in (
        (100 * found, 100 * values), (found * -2, -2 * values), (found - 50, values - 50), (1 - found, 1 - values),
        (-found, -values), (3 + found, values + 3), (np.float64(2) * found, 2 * values),
    ):  # fmt: skip
        wanted = summarise(same)
        for name in ("mean", "std", "low", "high"):
            assert getattr(made, name) == pytest.approx(getattr(wanted, name)), name
        assert made.n == wanted.n and made.method == wanted.method
    with pytest.raises(TypeError):
        found - found  # two means alone do not tell the interval of their difference


def test_one_value_stays_without_interval_when_scaled():
    assert not (100 * summarise([1.0])).has_interval


@pytest.mark.parametrize(
    ("values", "sign", "resolved"),
    [([1.0, 1.1, 1.2], 1, "resolved"), ([-1.0, -1.1, -1.2], -1, "resolved"), ([-1.0, 1.1, 0.2], 0, "not resolved"),
     ([5.0], 0, "not resolved"), ([1.0, math.nan], 0, "not resolved")],
)  # fmt: skip
def test_a_sign_is_resolved_where_the_interval_leaves_zero_out(values, sign, resolved):
    found = summarise(values)
    assert (found.sign, found.resolved) == (sign, resolved)


def test_bootstrap_draws_from_the_seeded_generator_item_by_item():
    values = np.random.default_rng(4).random(300)
    rng = np.random.default_rng(7)
    means = [values[rng.integers(300, size=300)].mean() for _ in range(5000)]
    found = bootstrap(values, "images", draws=5000, seed=7)
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])), rel=1e-12)


def test_bootstrap_of_equal_and_of_diverged_values():
    found = bootstrap([1.0] * 50, "images")
    assert (found.mean, found.low, found.high) == (1, 1, 1)
    assert not bootstrap([1.0, math.nan, 2.0], "images").has_interval


def test_jitter_is_the_deviation_of_noise_and_not_of_a_trend():
    epochs = np.arange(20_000)
    noise = np.random.default_rng(2).normal(0, 3.0, len(epochs))
    assert jitter(5 + 0.7 * epochs) == pytest.approx(0, abs=1e-9)
    assert jitter(5 + 0.7 * epochs + noise) == pytest.approx(3.0, rel=0.02)
    assert math.isnan(jitter([1.0, 2.0]))
