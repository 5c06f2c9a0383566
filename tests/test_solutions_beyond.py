"""The numbers typed into the folded solutions of the chapters beyond the reports, computed again."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from exercise_texts import labels, solution
from scipy import stats
from torch.utils.flop_counter import FlopCounterMode

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
