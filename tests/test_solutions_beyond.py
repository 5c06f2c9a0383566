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
