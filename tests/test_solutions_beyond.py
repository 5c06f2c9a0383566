"""The numbers typed into the folded solutions of the chapters beyond the reports, computed again."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from exercise_texts import labels, solution
from scipy import special, stats
from torch.utils.flop_counter import FlopCounterMode

from cifar_utils.measure import calibration
from cifar_utils.measure.variation import variation
from cifar_utils.models.fast import FastNet
from cifar_utils.train.muon import QUINTIC, orthogonalise

#: Labels that a test below computes.
COMPUTED: set[str] = set()


@pytest.fixture
def text(request) -> str:
    return solution(request.param)


def of(label: str):
    COMPUTED.add(label)
    return pytest.mark.parametrize("text", [label], indirect=True)


def test_every_exercise_is_computed():
    assert labels(("beyond_",)) == COMPUTED


@of("beyond_q1_ladder-coins")
def test_nearly_every_image_is_seen_from_both_sides(text):
    views = [np.mean([len(set(coins)) for coins in product((0, 1), repeat=k)]) for k in (1, 2, 3)]
    assert views == [2 - 2 ** (1 - k) for k in (1, 2, 3)]
    assert "$2 - 2^{1-k}$: {:g}, {:g}, {:g} and so on".replace("{1-k}", "{{1-k}}").format(*views) in text
    alone = np.mean([len(set(coins)) == 1 for coins in product((0, 1), repeat=8)])
    assert alone == 2**-7
    assert rf"$2^{{-7}} = {100 * alone:.2f}\,\%$, which is {50_000 * alone:.0f} of 50,000" in text
    assert rf"$\sqrt{{8}}/2 = {stats.binom(8, 0.5).std():.2f}$ with a coin" in text


@of("beyond_q1_ladder-polynomial")
def test_three_rounds_lift_what_is_not_too_short(text):
    a, b, c = QUINTIC

    def after(x, rounds):
        for _ in range(rounds):
            x = a * x + b * x**3 + c * x**5
        return x

    matrix = torch.linalg.qr(torch.randn(300, 256, generator=torch.Generator().manual_seed(0)).double())[0]
    lengths = torch.linalg.svdvals(orthogonalise(matrix, 3))
    assert lengths.numpy() == pytest.approx(np.full(256, after(1 / 16, 3)), rel=1e-5)
    told = [f"{after(1 / 16, n):.3f}" for n in (1, 2, 3)]
    assert f"Three rounds take them to {told[0]}, {told[1]} and {told[2]}" in text
    assert f"three rounds by {a**3:.1f}" in text
    x = np.linspace(1e-5, 1, 1_000_001)
    limits = []
    for rounds in (3, 5):
        enough = after(x, rounds) > 0.5
        limits.append(x[enough.argmax()])
        assert enough[enough.argmax() :].all()
    assert f"begins above {limits[0]:.4f}" in text and f"With five rounds the limit is {limits[1]:.4f}" in text


@of("beyond_q1_ladder-sides")
def test_smaller_images_take_half_and_two_epochs_are_enough(text):
    def multiplications(side):
        with FlopCounterMode(display=False) as counter:
            FastNet()(torch.zeros(1, 3, side, side))
        return counter.get_total_flops() / 2

    large, small = multiplications(32), multiplications(24)
    assert f"is {large / 1e6:.1f} million for 32 pixels and {small / 1e6:.1f} million for 24" in text
    assert rf"The ratio is {small / large:.2f}, less than $(24/32)^2 = {(24 / 32) ** 2:.2f}$" in text
    run, saved = 6 * large * 8 * 50_000, 6 * (large - small) * 50_000
    assert rf"$6 \cdot {large / 1e6:.1f}$ million $= {6 * large / 1e9:.3f} \cdot 10^9$" in text
    assert rf"${run / 1e14:.2f} \cdot 10^{{14}}$. An epoch with 24 pixels saves ${saved / 1e13:.2f} \cdot" in text
    two, three = run - 2 * saved, run - 3 * saved
    assert run - saved > 0.25e15 > two
    assert rf"lead to ${two / 1e14:.3f} \cdot 10^{{14}}$, just below" in text
    assert rf"three to ${three / 1e14:.2f} \cdot 10^{{14}}$" in text


@of("beyond_q2_people-kappa")
def test_kappa_on_paper_and_its_largest_value(text):
    def kappa(*shares):
        both = np.mean([p * q for p, q in shares])
        one, other = np.mean(shares, axis=0)
        observed, chance = 1 - one - other + 2 * both, one * other + (1 - one) * (1 - other)
        return observed, chance, (observed - chance) / (1 - chance)

    observed, chance, none = kappa((0.95, 0.95))
    assert abs(none) < 1e-12 and f"$0.95^2 + 0.05^2 = {chance:.3f}$" in text
    observed, chance, found = kappa((1, 1), (0.9, 0.9))
    assert f"$0.9^2 + 0.1^2 = {0.9**2 + 0.1**2:.2f}$ of the second, on {observed:.2f} of all" in text
    assert f"$({observed:.2f} - {chance:.3f})/(1 - {chance:.3f}) = {found:.3f}$" in text
    # images on which both are right, only the person is, and neither is, in tenths of a percent
    observed, chance, largest = kappa(*[(1, 1)] * 940, *[(0, 1)] * 12, *[(0, 0)] * 48)
    assert rf"$0.94 \cdot 0.952 + 0.06 \cdot 0.048 = {chance:.3f}$" in text
    assert f"$({observed:.3f} - {chance:.3f})/(1 - {chance:.3f}) = {largest:.2f}$" in text
    weak = kappa(*[(1, 1)] * 400, *[(0, 1)] * 552, *[(0, 0)] * 48)[2]
    assert f"right on 40 % it could be {weak:.2f} at most" in text


@of("beyond_q2_people-sure")
def test_being_sure_is_paid_by_labels_and_not_by_people(text):
    told, sure = np.array([0.9, 0.1]), (0.9, 0.99, 0.999)
    label = [-np.log(q) for q in sure]
    people = [-(told @ np.log([q, 1 - q])) for q in sure]
    assert "it is $-\\ln q$: {:.3f}, {:.3f} and {:.3f}.".format(*label) in text
    assert r"$-0.9 \ln q - 0.1 \ln (1 - q)$: " + "{:.3f}, {:.3f} and {:.3f}.".format(*people) in text
    tried = np.linspace(0.01, 0.99, 99)
    assert tried[np.argmin([-(told @ np.log([q, 1 - q])) for q in tried])] == pytest.approx(0.9)
    assert people[0] == pytest.approx(stats.entropy(told)) and "smallest at $q = 0.9$" in text


@of("beyond_q2_people-few")
def test_few_mistakes_leave_pairs_without_any(text):
    many, few = stats.poisson(600 / 90), stats.poisson(60 / 90)
    assert f"$600/90 = {many.mean():.1f}$ with a standard deviation of $\\sqrt{{6.7}} = {many.std():.1f}$" in text
    assert f"$90\\,e^{{-6.7}}$ is {90 * many.pmf(0):.1f} pairs" in text
    assert f"it is {few.mean():.2f} with a standard deviation of {few.std():.2f}" in text
    assert f"and {90 * few.pmf(0):.0f} of the 90 pairs have none" in text
    drawn = np.random.default_rng(0).multinomial(60, np.full(90, 1 / 90), 2000)
    assert (drawn == 0).sum(1).mean() == pytest.approx(90 * few.pmf(0), abs=0.5)


@of("beyond_q3_calibration-scores")
def test_a_temperature_moves_confidences_and_may_change_their_order_over_images(text):
    at = {t: calibration.probabilities([[2, 1, 0]], t)[0] for t in (1, 2, 0.5)}
    told = {t: "{:.3f}, {:.3f} and {:.3f}".format(*each) for t, each in at.items()}
    assert f"At 1 they are {told[1]};" in text and f"which are {told[2]};" in text
    assert f"those of 4, 2 and 0: {told[0.5]}." in text
    assert special.softmax([1, 0.5, 0]) == pytest.approx(at[2]) and special.softmax([4, 2, 0]) == pytest.approx(
        at[0.5]
    )
    other = {t: calibration.probabilities([[2, 1.4, -5]], t)[0] for t in (1, 2)}
    assert f"it is {at[1][0]:.3f} at 1 and {at[2][0]:.3f} at 2;" in text
    assert f"it is {other[1][0]:.3f} and {other[2][0]:.3f}." in text
    assert at[1][0] > other[1][0] and at[2][0] < other[2][0]
    assert calibration.probabilities([[2, 1, 0]], 1e3)[0] == pytest.approx(np.full(3, 1 / 3), abs=1e-3)


@of("beyond_q3_calibration-soft")
def test_soft_labels_have_a_loss_that_no_network_is_below(text):
    told = {}
    for smoothing in (0.2, 0.05):
        target = np.full(10, smoothing / 10) + np.eye(10)[0] * (1 - smoothing)
        least = stats.entropy(target)
        loss = torch.nn.functional.cross_entropy(
            torch.tensor(np.log(target))[None], torch.tensor([0]), label_smoothing=smoothing
        )
        assert loss.item() == pytest.approx(least)  # at the target the loss is its entropy
        right = np.arange(10_000) < 9_400
        error = calibration.calibration_error(np.full(10_000, target[0]), right)
        told[smoothing] = target[0], least, 100 * error, target[0] > 0.94
    assert f"= {told[0.2][0]:.2f}$ for the true class and 0.02 for each other" in text
    assert (
        f"there, {told[0.2][1]:.3f} nats. With 0.05 it is {told[0.05][0]:.3f}, and {told[0.05][1]:.3f} nats" in text
    )
    assert (
        f"{told[0.2][2]:.1f} points with 0.2, underconfident, and {told[0.05][2]:.1f} points with 0.05, over" in text
    )
    assert (told[0.2][3], told[0.05][3]) == (False, True)


@of("beyond_q3_calibration-bias")
def test_an_honest_network_is_accused_of_a_point(text):
    error = lambda n: np.sqrt(2 / np.pi * 0.75 * 0.25 * 15 / n)  # noqa: E731
    assert f"{100 * error(1_000):.2f} % for 1,000 images and {100 * error(10_000):.2f} % for 10,000" in text
    assert calibration.error_if_calibrated(np.full(10_000, 0.75), 15, "mass") == pytest.approx(
        error(10_000), rel=0.05
    )
    enough = 1_000 * (error(1_000) / 0.001) ** 2
    assert f"it takes {enough / 1e6:.1f} million images" in text and error(enough) == pytest.approx(0.001)
    both = [*np.full(500, 0.9), *np.full(500, 0.7)]  # too sure, and not sure enough: all right in 80 of 100
    right = np.tile(np.arange(10) < 8, 100)
    assert calibration.calibration_error(both, right, 1) < 1e-9 < 0.09 < calibration.calibration_error(both, right)


@of("beyond_q3_calibration-runs")
def test_only_the_doubtful_images_vary_over_runs(text):
    accuracy = (9_000 + 300) / 10_000
    coins, other = np.sqrt(600 / 4) / 10_000, np.sqrt(accuracy * (1 - accuracy) / 10_000)
    assert f"The mean is {100 * accuracy:.2f} %" in text and f"is {100 * coins:.3f} points" in text
    assert f"{100 * other:.3f} points: there" in text
    right = np.zeros((400, 10_000), bool)
    right[:, :9_000] = True
    right[:, 9_400:] = np.random.default_rng(0).random((400, 600)) < 0.5
    drawn = variation(right)
    assert np.sqrt(drawn.independent) == pytest.approx(coins, rel=0.01)
    assert np.sqrt(drawn.observed) == pytest.approx(coins, rel=0.1)
    assert np.sqrt(drawn.binomial) == pytest.approx(other, rel=0.01)
    apart = np.sqrt(2) * coins
    assert (
        f"which is {100 * apart:.3f} points, and 95 of 100 lie within 1.96 of that, {196 * apart:.2f} points" in text
    )
    pairs = next(k for k in range(1, 100) if 1.96 * 100 * apart / np.sqrt(k) < 0.1)
    assert f"below 0.1 from $k = {pairs}$ on" in text


@of("beyond_q4_time-intensity")
def test_a_convolution_is_limited_by_the_processor_from_nine_channels_on(text):
    c, s = 7, 5
    count, moved = 18 * c**2 * s**2, 2 * (2 * c * s**2)
    layer, x = torch.nn.Conv2d(c, c, 3, padding=1, bias=False), torch.zeros(1, c, s, s)
    with FlopCounterMode(display=False) as counter:
        layer(x)
    assert counter.get_total_flops() == count
    assert f"${count / moved / c:g}\\,c$" in text
    channels = next(n for n in range(1, 100) if 4.5 * n >= 40)
    assert f"from {channels} channels on" in text and channels == 9
    assert 4 * c * s**2 / moved == 1 and "one a byte" in text


@of("beyond_q4_time-amdahl")
def test_a_faster_product_is_worth_less_than_it_seems(text):
    left = 0.2 + 0.8 / 4
    assert f"$0.2 + 0.8/4 = {left:g}$" in text and f"{1 / left:g} times as fast" in text
    assert f"at most {1 / 0.2:g} times as fast" in text
    assert rf"$0.2/{left:g} = {0.2 / left:.0%}".replace("%", r"\,\%$") in text


@of("beyond_q4_time-minutes")
def test_operations_over_a_rate_are_a_time(text):
    seconds = 2.32e14 / 300e9
    assert f"need {seconds:.0f} s, which is {seconds / 60:.1f} minutes" in text
    assert f"The GPU needs {2.32e14 / (989e12 / 3):.1f} s" in text
    rate = 2.9e14 / 2.59
    assert rf"${rate / 1e14:.2f} \cdot 10^{{14}}$ a second, {100 * rate / 312e12:.0f} % of the" in text
