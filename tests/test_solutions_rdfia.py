"""The numbers typed in the solutions of the RDFIA chapters, each computed again by code of its own."""

from __future__ import annotations

import itertools
import json
import math
import re
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import integrate, optimize, stats
from sklearn.svm import SVC, LinearSVC
from torch import nn
from torch.nn import functional as F

from cifar_utils.data.augment import CutMix
from cifar_utils.measure.fields import field_table, receptive_field
from cifar_utils.measure.fully_convolutional import as_convolutions
from cifar_utils.models.rdfia import RdfiaNet
from cifar_utils.scratch.network import Dropout
from cifar_utils.scratch.optim import Adam

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
SKIPPED: dict[str, str] = {}  # label of an exercise: why its solution has nothing that could be computed
TESTED: set[str] = set()

# numbers that the solutions spell out
SHARES = {5: "fifth", 16: "sixteenth"}
TIMES = {2: "twice", 10: "ten"}
POINTS = {0.5: "half a point"}


@lru_cache
def exercises(stem: str) -> str:
    cells = json.loads((NOTEBOOKS / f"{stem}.ipynb").read_text(encoding="utf-8"))["cells"]
    return "\n".join("".join(c["source"]) for c in cells if "exercises" in c["metadata"].get("tags", []))


@lru_cache
def solution(label: str) -> str:
    """The text of a solution in one line, so that a needle may reach over the end of a line."""
    fence = r"^(`{3,})\{solution\} " + re.escape(label) + r"\n(.*?)^\1$"
    found = re.search(fence, exercises(label.rsplit("-", 1)[0]), re.DOTALL | re.MULTILINE)
    assert found, f"{label} has no solution"
    return " ".join(found[2].split())


def of(label: str):
    """Give the test the text of the solution `label`, and count this exercise as tested."""

    def register(test):
        def on_solution():
            test(solution(label))

        TESTED.add(label)
        on_solution.__name__ = test.__name__
        return on_solution

    return register


def holds(text: str, *needles: str) -> None:
    missing = [needle for needle in needles if needle not in text]
    assert not missing, f"not in the solution: {missing}"


def thousands(number: int, sep: str = ",") -> str:
    return f"{number:,}".replace(",", sep)


def test_every_exercise_is_tested_or_skipped_for_a_reason():
    stems = sorted(path.stem for path in NOTEBOOKS.glob("rdfia_*.ipynb"))
    labels = {x for stem in stems for x in re.findall(r"\{exercise\}[^\n]*\n:label: (\S+)", exercises(stem))}
    assert labels == TESTED | set(SKIPPED)
    assert not TESTED & set(SKIPPED)


# --------------------------------------------------------------------------------------------------- rdfia_ab_circles


def gradient(points: int, reduction: str) -> torch.Tensor:
    """The gradient of a linear classifier on the first so many of 200 points."""
    draw = torch.Generator().manual_seed(0)
    x, y = torch.randn(200, 2, generator=draw).double(), torch.randint(2, (200,), generator=draw)
    w = torch.full((2, 2), 0.3, dtype=torch.float64, requires_grad=True)
    return torch.autograd.grad(F.cross_entropy(x[:points] @ w, y[:points], reduction=reduction), w)[0]


@of("rdfia_ab_circles-averaged")
def test_both_experiments_take_averaged_steps_of_three(text):
    def averaged(rate, points):
        return float((rate * gradient(points, "sum") / gradient(points, "mean")).mean())

    def summed(rate, points):
        return rate * float((gradient(points, "mean") / gradient(points, "sum")).mean())

    both = averaged(0.3, 10), averaged(0.03, 100)
    assert both[0] == pytest.approx(both[1])
    low, high = averaged(0.1, 10), averaged(0.5, 10)
    holds(
        text,
        r"A sum over $N$ points at rate $\mu$ is their mean at rate $N \mu$.",
        rf"Both experiments have $N \mu = {both[0]:.3g}$",
        "After 40 iterations the test loss of panel (c)",
        "where the rate of 0.03 leads to",
        f"batches of 100 at {3 / 100:g} have",
        r"a rate of $0.03 / \sqrt{10}$ leads",
        "a batch of 100 has less of that",
        rf"Batches of 10 fail between $N \mu = {low:.3g}$ and ${high:.3g}$",
        f"batches of 100 get there at summed rates between {summed(low, 100):.2g} and {summed(high, 100):.2g}.",
    )


@of("rdfia_ab_circles-decay")
def test_the_last_batch_gets_half_a_step_more_and_the_penalty_thirty_times_its_strength(text):
    batches = [len(part) for part in torch.arange(200).split(30)]
    full, last = batches.count(30), batches[-1]
    longer = float((30 * gradient(last, "mean") / gradient(last, "sum")).mean())

    mu, lam = 0.01, torch.tensor(0.2, dtype=torch.float64, requires_grad=True)
    before = -mu * (gradient(30, "sum") + lam * 0.3)
    after = -30 * mu * (gradient(30, "mean") + lam * 0.3)
    slopes = [float(torch.autograd.grad(step.sum(), lam)[0]) for step in (before, after)]
    stronger = slopes[1] / slopes[0]
    assert torch.allclose(after - before, -mu * (stronger - 1) * lam * torch.full((2, 2), 0.3).double())
    holds(
        text,
        rf"It has $200 - {full} \cdot 30 = {last}$ points.",
        rf"Its mean at rate $30 \mu$ is its sum at rate $30 \mu / {last} = {longer:.2g} \mu$",
        "half as long again",
        "a division by 30 instead of",
        "(With batches of 10, as in the chapter, all batches are full",
        r"The step was $-\mu\,(\sum_n g_n + \lambda w)$",
        r"$-30 \mu\,(\tfrac{1}{30} \sum_n g_n + \lambda w) = -\mu\,(\sum_n g_n + " + rf"{stronger:.3g}\, \lambda w)$",
        f"The penalty has become {stronger:.3g} times as strong, so $\\lambda$ has to be divided by {stronger:.3g}.",
    )
    assert longer == pytest.approx(1.5)
    assert 200 % 10 == 0


@of("rdfia_ab_circles-twelve")
def test_copies_make_four_hundred_to_one_out_of_less_than_five(text):
    three = stats.norm.logpdf(np.random.default_rng(0).normal(size=3))
    times = float(np.repeat(three, 4).sum() / three.sum())
    printed, honest = math.exp(6), math.exp(6 / times)
    holds(
        text,
        "A sum of twelve terms of which four at a time are copies is four times the sum of three.",
        "a quarter of the one that is printed",
        rf"A likelihood ratio of $e^{{d}}$ shrinks to $e^{{d/{times:.3g}}}$",
        f"where $d = 6$ looks like {round(printed, -2):.0f} to 1, $d/{times:.3g} = {6 / times:.2g}$ is less than "
        f"{math.ceil(honest)} to 1",
    )


# ----------------------------------------------------------------------------------------------------- rdfia_ab_mnist


@of("rdfia_ab_mnist-pictures")
def test_one_network_needs_more_than_a_thousand_pictures(text):
    z = stats.norm.ppf(0.975)
    n = optimize.brentq(lambda n: z * stats.bernoulli(0.97).std() / math.sqrt(n) - 0.01, 10, 1e5)

    outcomes = {+1: 0.08, -1: 0.05, 0: 0.87}  # only the first is right, only the second, both or neither
    share, ahead = outcomes[1] + outcomes[-1], outcomes[1] - outcomes[-1]
    variance = sum(p * (k - ahead) ** 2 for k, p in outcomes.items())
    assert variance == pytest.approx(share - ahead**2)

    q = 0.97
    apart = sum((q if a else 1 - q) * (q if b else 1 - q) for a, b in itertools.product((0, 1), repeat=2) if a != b)
    assert apart == pytest.approx(2 * q * (1 - q))
    two = sum(
        (q if a else 1 - q) * (q if b else 1 - q) * (a - b) ** 2 for a, b in itertools.product((0, 1), repeat=2)
    )
    assert two / stats.bernoulli(q).var() == pytest.approx(2)
    holds(
        text,
        r"the standard error $\sqrt{q (1 - q) / n}$",
        r"For $q = 0.97$ a 95 % interval reaches less than one point",
        rf"when ${z:.2f} \sqrt{{0.97 \cdot {1 - q:.2g} / n}} < 0.01$",
        f"which is $n > {thousands(round(n), '{,}')}$.",
        "about twice as many are needed for each",
        "$+1$ (only the first is right), $-1$ (only the second) or $0$",
        r"is $d - \delta^2 \approx d$",
        "smaller than the $2 q (1 - q)$ of networks that err independently",
    )


@of("rdfia_ab_mnist-calibration")
def test_a_perfect_network_has_a_calibration_error(text):
    bin_size = round(10_000 / 15)
    shrink = stats.norm.expect(abs)

    def points(q):
        hits = np.arange(bin_size + 1)
        return 100 * float(stats.binom(bin_size, q).pmf(hits) @ np.abs(hits / bin_size - q))

    assert points(0.9) == pytest.approx(100 * shrink * stats.bernoulli(0.9).std() / math.sqrt(bin_size), rel=0.02)
    assert shrink == pytest.approx(math.sqrt(2 / math.pi))
    holds(
        text,
        f"A bin holds about {bin_size} images",
        rf"a standard deviation of $\sqrt{{q (1 - q) / {bin_size}}}$",
        rf"$\sqrt{{2 / \pi}} \approx {shrink:.1f}$ times that",
        f"{points(0.9):.1f} points at 90 %, {points(0.999):.1f} points at 99.9 %.",
    )


@of("rdfia_ab_mnist-unit")
def test_one_unit_gives_each_of_ten_classes_an_interval(text):
    a = np.sort(np.random.default_rng(0).uniform(-1, 1, 10))
    h = np.linspace(-1, 1, 4001)[:, None]
    scores = a * h - a**2 / 2
    assert np.allclose(scores, h**2 / 2 - (h - a) ** 2 / 2)
    winner = scores.argmax(1)
    assert (winner == np.abs(h - a).argmin(1)).all()
    assert (np.diff(winner) >= 0).all()
    number = TIMES[len(set(winner))]
    holds(
        text,
        rf"Take {number} different numbers $a_0 < \dots < a_{len(a) - 1}$ between $-1$ and $1$, and ",
        "and $b_k = -a_k^2 / 2$. Then",
        r"$$\tilde y_k = a_k h - \tfrac12 a_k^2 = \tfrac12 h^2 - \tfrac12 (h - a_k)^2,$$",
        f"{number.capitalize()} classes share the line",
    )


# ------------------------------------------------------------------------------------------------- rdfia_ab_q1_theory


def two_gradients(wrong_by: float) -> tuple[float, torch.Tensor, torch.Tensor]:
    """p of the true class, and the gradients of cross-entropy and squared error by the two scores."""
    scores = torch.tensor([0.0, wrong_by], dtype=torch.float64, requires_grad=True)
    p = scores.softmax(0)
    entropy = torch.autograd.grad(-p[0].log(), scores, retain_graph=True)[0]
    squares = torch.autograd.grad(((p - torch.tensor([1.0, 0.0])) ** 2).sum(), scores)[0]
    return float(p[0].detach()), entropy, squares


@of("rdfia_ab_q1_theory-ratio")
def test_cross_entropy_is_thousands_of_times_as_loud(text):
    for wrong_by in (-1.0, 0.0, 0.7, 10.0):
        p, entropy, squares = two_gradients(wrong_by)
        assert float(entropy[0]) == pytest.approx(-(1 - p))
        assert float(squares[0]) == pytest.approx(-4 * (1 - p) * p * (1 - p))
        assert float(entropy.norm() / squares.norm()) == pytest.approx(1 / (4 * p * (1 - p)))
        for gradient_ in (entropy, squares):
            assert float(gradient_[1]) == pytest.approx(-float(gradient_[0]))
    z = torch.tensor([0.3, -1.0, 0.5], dtype=torch.float64)
    y = z.softmax(0)
    jacobian = torch.autograd.functional.jacobian(lambda s: s.softmax(0), z)
    assert torch.allclose(jacobian, y[:, None] * (torch.eye(3) - y[None]))

    p, entropy, squares = two_gradients(10.0)
    assert p == pytest.approx(math.exp(-10), rel=1e-4)
    even, *equal = two_gradients(0.0)
    assert equal[0].norm() == pytest.approx(equal[1].norm())
    ratio = thousands(round(float(entropy.norm() / squares.norm()), -2), "{,}").removesuffix(".0")
    holds(
        text,
        r"$\partial \hat y_i / \partial \tilde y_j = \hat y_i (\delta_{ij} - \hat y_j)$",
        r"$\hat y = (p, 1 - p)$",
        r"\frac{\partial}{\partial \tilde y_1} (-\ln p) = -(1 - p), \qquad",
        r"\frac{\partial}{\partial \tilde y_1}\, 2 (1 - p)^2 = -4 (1 - p) \cdot p (1 - p) .",
        "(The squared error is $(1 - p)^2 + (1 - p)^2$.)",
        r"$(1 - p) / \bigl(4 p (1 - p)^2\bigr) = 1 / (4 p (1 - p))$",
        rf"$p = 1 / (1 + e^{{10}}) \approx e^{{{math.log(p):.0f}}}$",
        rf"$e^{{10}} / 4 \approx {ratio}$",
        rf"At $p = \tfrac1{round(1 / even)}$ the two gradients are equally long",
    )


def mean_of_largest(count: int) -> float:
    """The expected largest of `count` independent standard normal numbers."""
    density = lambda x: x * count * stats.norm.pdf(x) * stats.norm.cdf(x) ** (count - 1)  # noqa: E731
    return integrate.quad(density, -10, 10)[0]


@of("rdfia_ab_q1_theory-luck")
def test_the_best_of_32_equal_models_is_eight_points_lucky(text):
    deviation = 100 * stats.binom(40, 0.9).std() / 40
    above = mean_of_largest(32)
    not_all_below = 1 - stats.binom(40, 0.9).cdf(np.arange(40)) ** 32  # P(largest > k)
    exact = 100 * (not_all_below.sum() / 40 - 0.9)
    holds(
        text,
        "One accuracy on 40 points has",
        rf"$\sqrt{{0.9 \cdot 0.1 / 40}} \approx {deviation:.1f}$ points",
        f"The largest of 32 independent normal numbers lies on average {above:.2f} standard deviations above",
        f"which would be {above * deviation:.1f} points.",
        "No accuracy is above 100 %",
        f"with binomial numbers the expectation is {exact:.1f} points.",
        "asked about the same 40 points",
    )
    assert 90 + above * deviation < 100


def power_of_ten(value: float) -> str:
    digit, exponent = f"{value:.0e}".split("e")
    return rf"{digit} \cdot 10^{{{int(exponent)}}}"


@of("rdfia_ab_q1_theory-check")
def test_the_wrong_derivative_is_right_near_zero(text):
    def off(h):
        return (1 - h**2) - (1 - math.tanh(h) ** 2)

    small = np.array([0.02, 0.04, 0.06])
    assert np.allclose((np.tanh(small) - small) / small**3, -1 / 3, rtol=0.01)
    assert np.allclose((np.tanh(small) ** 2 - small**2) / small**4, -2 / 3, rtol=0.01)
    assert off(0.03) / 0.03**4 == pytest.approx(-2 / 3, rel=0.01)
    assert 1 - 1.0**2 == 0
    h = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.grad(h.tanh(), h)[0] > 0.4
    holds(
        text,
        r"From $\tanh z = z - z^3/3 + \dots$",
        r"$\tanh^2 z = z^2 - \tfrac23 z^4 + \dots$",
        r"$$\bigl(1 - \tilde h^2\bigr) - \bigl(1 - \tanh^2 \tilde h\bigr) = -\tfrac23\, \tilde h^4 + \dots,$$",
        rf"which is ${power_of_ten(off(0.01))}$ at $\tilde h = 0.01$",
        rf"At 0.1 it is off by ${power_of_ten(abs(off(0.1)))}$, and at 1 it is zero",
    )


# ------------------------------------------------------------------------------------------------------- rdfia_ab_svm


def rings(points: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """A disc inside a ring, around the origin."""
    draw = np.random.default_rng(0)
    y = np.arange(points) % 2
    radius, angle = y + draw.uniform(0.1, 0.8, points), draw.uniform(0, 2 * math.pi, points)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1), y


@of("rdfia_ab_svm-margin")
def test_a_larger_c_never_widens_the_margin_but_may_cost_accuracy(text):
    fell = False
    for seed in range(20):
        draw = np.random.default_rng(seed)
        x, y = draw.normal(size=(24, 2)), np.arange(24) % 2
        x[y == 1, 0] += 1
        norms, slacks, rates = [], [], []
        for c in (0.03, 0.3, 3.0):
            machine = SVC(kernel="linear", C=c, tol=1e-6).fit(x, y)
            norms.append(np.linalg.norm(machine.coef_))
            slacks.append(np.maximum(0, 1 - (2 * y - 1) * machine.decision_function(x)).sum())
            rates.append(machine.score(x, y))
        assert (np.diff(norms) >= -1e-4).all()
        assert (np.diff(slacks) <= 1e-4).all()
        fell = fell or (np.diff(rates) < 0).any()
        for k, c in enumerate((0.03, 0.3, 3.0)):
            costs = np.square(norms) / 2 + c * np.array(slacks)
            assert costs[k] <= costs.min() + 1e-3
    assert fell
    holds(
        text,
        r"$$\tfrac12 \lVert w_1 \rVert^2 + C_1 L(w_1) \le \tfrac12 \lVert w_2 \rVert^2 + C_1 L(w_2), \qquad "
        r"\tfrac12 \lVert w_2 \rVert^2 + C_2 L(w_2) \le \tfrac12 \lVert w_1 \rVert^2 + C_2 L(w_1).$$",
        r"$(C_2 - C_1)\,\bigl(L(w_1) - L(w_2)\bigr) \ge 0$ is left, so $L(w_1) \ge L(w_2)$.",
        r"$\tfrac12 \lVert w_1 \rVert^2 - \tfrac12 \lVert w_2 \rVert^2 \le C_1 \bigl(L(w_2) - L(w_1)\bigr) \le 0$",
        r"The margin $2 / \lVert w \rVert$ cannot get thinner when C gets smaller",
    )


@of("rdfia_ab_svm-moved")
def test_moved_circles_need_linear_terms(text):
    x, y = rings()
    moved = x + [3, 0]

    def phi(p):
        return np.stack([p[:, 0] ** 2, p[:, 1] ** 2, math.sqrt(2) * p[:, 0] * p[:, 1]], 1)

    assert np.allclose((x @ x.T) ** 2, phi(x) @ phi(x).T)
    squares = lambda p: (p**2).sum(1, keepdims=True)  # noqa: E731
    without, with_one = (SVC(kernel="poly", degree=2, gamma=1, coef0=one) for one in (0, 1))
    assert without.fit(x, y).score(x, y) == LinearSVC().fit(squares(x), y).score(squares(x), y) == 1
    assert without.fit(moved, y).score(moved, y) < 0.9
    assert LinearSVC(max_iter=100_000).fit(squares(moved), y).score(squares(moved), y) < 0.9
    assert with_one.set_params(C=100).fit(moved, y).score(moved, y) == 1

    kept = [SVC(gamma=1.0).fit(p, y).decision_function(p) for p in (x, moved)]
    assert np.allclose(*kept, atol=1e-2)
    gammas = [SVC().fit(p, y)._gamma for p in (x, moved)]
    assert gammas == pytest.approx([1 / (2 * p.var()) for p in (x, moved)])
    assert gammas[1] < gammas[0]
    centred = x - x.mean(0)
    added = (centred + [3, 0]).var() - centred.var()
    c = np.array([3.0, 0.0])
    assert np.allclose(((x - c) ** 2).sum(1), squares(x)[:, 0] - 2 * x @ c + c @ c)
    holds(
        text,
        r"$(x_1 z_1 + x_2 z_2)^2$ belongs to $\varphi(x) = (x_1^2,\ x_2^2,\ \sqrt2\,x_1 x_2)$.",
        "The constant and the two linear terms are missing.",
        "A circle around the origin is $x_1^2 + x_2^2 = r^2$; the machine has an offset for $r^2$",
        r"is $\lVert x \rVert^2 - 2\, c \cdot x + \lVert c \rVert^2 = r^2$, and has linear terms.",
        r"`by_radius` and $(x \cdot z)^2$ have none, and cannot draw it; $(x \cdot z + 1)^2$ can.",
        r"$\gamma = 1 / (n_x \mathrm{Var}\,x)$",
        f"a shift of one of them by 3 adds about ${added * 4:.0f}/4$.",
        "The radial kernel sees differences $x - z$ only",
        "with a wider kernel",
    )


@of("rdfia_ab_svm-chance")
def test_53_percent_is_what_guessing_gives(text):
    error = 100 * stats.binom(200, 0.53).std() / 200
    half = stats.norm.ppf(0.975) * error
    x, y = rings(20_000)
    for angle in (0.0, 1.0, 2.5):
        side = x @ [math.cos(angle), math.sin(angle)] > 0
        assert (side == y).mean() == pytest.approx(0.5, abs=0.02)
    assert half > 3
    holds(
        text,
        rf"$\sqrt{{0.53 \cdot {1 - 0.53:.2f} / 200}} \approx {error:.1f}$ points",
        f"so the interval is 53 ± {half:.0f} %.",
        "is right about half of the points",
        "So 53 % is what chance gives",
    )


# ------------------------------------------------------------------------------------------ rdfia_cd_q13_baseline_cnn


@of("rdfia_cd_q13_baseline_cnn-count")
def test_the_reports_rule_takes_the_map_for_the_kernel(text):
    net = RdfiaNet()
    convs = [m for m in net if isinstance(m, nn.Conv2d)]
    dense = [sum(p.numel() for p in m.parameters()) for m in net if isinstance(m, nn.Linear)]
    right, theirs, x = [], [], torch.zeros(1, 3, 32, 32)
    for layer in net:
        if isinstance(layer, nn.Conv2d):
            side, out, inputs = x.shape[-1], layer.out_channels, layer.in_channels
            right.append(sum(p.numel() for p in layer.parameters()))
            theirs.append(sum(p.numel() for p in nn.Conv2d(1, out, side).parameters()))
            wrong, true = (thousands(n[-1], "{,}") for n in (theirs, right))
            holds(
                text,
                rf"| conv{len(right)} | $({side} \cdot {side} + 1) \cdot {out} = {wrong}$ "
                rf"| $(5 \cdot 5 \cdot {inputs} + 1) \cdot {out} = {true}$ |",
            )
        x = layer(x)
    assert [c.kernel_size for c in convs] == [(5, 5)] * 3
    total, ours = sum(theirs) + sum(dense), sum(p.numel() for p in net.parameters())
    assert abs(total - ours) / ours < 1 / 10
    holds(
        text,
        f"too heavy by a factor of {theirs[0] / right[0]:.0f}, the last too light by a factor of "
        f"{right[2] / theirs[2]:.0f}",
        f"are ${thousands(total, '{,}')}$ and",
        "The total is off by less than a tenth",
        "of it sit in fc4",
    )


@of("rdfia_cd_q13_baseline_cnn-running")
def test_the_running_mean_lies_in_the_upper_half_of_what_was_learned(text):
    t = np.linspace(0, 1, 2001)
    for speed in (0.01, 1.0, 5.0, 50.0):  # from nearly straight to nearly a step
        learned = (1 - np.exp(-speed * t)) / (1 - math.exp(-speed))
        a0, a1 = 0.1, 0.55
        mean = integrate.trapezoid(a0 + (a1 - a0) * learned, t)
        assert (a0 + a1) / 2 <= mean <= a1
        assert a1 - mean <= (a1 - a0) / 2
    holds(
        text,
        r"The running mean is $\int_0^1 a(t)\,\mathrm{d}t$",
        "A curve that rises is never above $a_1$;",
        "lies above the straight line from $a_0$ to $a_1$.",
        "So the mean is between $(a_0 + a_1)/2$ and $a_1$.",
        "What is missing is at most half of what was learned",
    )


@of("rdfia_cd_q13_baseline_cnn-batch")
def test_a_rate_in_proportion_to_the_batch_keeps_the_noise_of_an_epoch(text):
    fewer = 512 // 32
    assert len(torch.arange(51_200).split(32)) == fewer * len(torch.arange(51_200).split(512))
    draw = np.random.default_rng(0)
    n, sizes = 1024, np.array([4, 16, 64])

    def exponents(rates):
        """Powers of B in the variance of a batch, of a step, of an epoch's noise, and in an epoch's drift."""
        of_batch, of_step, of_epoch, drift = [], [], [], []
        for size, rate in zip(sizes, rates, strict=True):
            means = draw.normal(1, 1, size=(2000, n // size, size)).mean(-1)
            of_batch.append(means.var())
            of_step.append((rate * means).var())
            of_epoch.append((rate * means).sum(1).var())
            drift.append((rate * means).sum(1).mean())
        return [float(np.polyfit(np.log(sizes), np.log(y), 1)[0]) for y in (of_batch, of_step, of_epoch, drift)]

    assert exponents(np.full(3, 0.1)) == pytest.approx([-1, -1, -2, -1], abs=0.1)
    assert exponents(0.1 * sizes) == pytest.approx([-1, 1, 0, 0], abs=0.1)
    holds(
        text,
        f"the larger batch takes a {SHARES[fewer]} of the steps.",
        "has a variance proportional to $1/B$",
        r"adds noise of variance $\mu^2 / B$, and an epoch has $n/B$ steps: together $n\,\mu^2/B^2$.",
        r"It stays the same when $\mu$ is proportional to $B$.",
        r"The drift of an epoch, $\mu \cdot n/B$, stays the same with it.",
        r"The noise of a *single* step grows, $\mu^2/B \propto B$.",
    )


# --------------------------------------------------------------------------------------- rdfia_cd_q19_standardization


@of("rdfia_cd_q19_standardization-condition")
def test_subtracting_the_mean_takes_a_condition_number_from_24_to_16(text):
    def spectrum(mean, spread):
        nodes, weights = np.polynomial.hermite_e.hermegauss(5)
        inputs = np.stack([mean + spread * nodes, np.ones(5)])
        moments = (inputs * weights / weights.sum()) @ inputs.T
        assert np.allclose(moments, [[spread**2 + mean**2, mean], [mean, 1]])
        assert np.trace(moments) == pytest.approx(1 + spread**2 + mean**2)
        assert np.linalg.det(moments) == pytest.approx(spread**2)
        root = math.sqrt(np.trace(moments) ** 2 - 4 * np.linalg.det(moments))
        values = np.linalg.eigvalsh(moments)
        assert values == pytest.approx([(np.trace(moments) - root) / 2, (np.trace(moments) + root) / 2])
        return values

    raw, centred, whole = spectrum(0.47, 0.25), spectrum(0, 0.25), spectrum(0, 1)
    holds(
        text,
        r"$$M = \begin{pmatrix} \sigma^2 + m^2 & m \\ m & 1 \end{pmatrix}, \qquad",
        r"\operatorname{tr} M = 1 + \sigma^2 + m^2, \quad \det M = \sigma^2, \qquad",
        r"\lambda_\pm = \tfrac12 \Bigl(\operatorname{tr} M \pm \sqrt{(\operatorname{tr} M)^2 - 4 \det M}\Bigr).$$",
        rf"With 0.47 and 0.25: $\lambda = {raw[1]:.3f}$ and ${raw[0]:.4f}$, "
        f"a condition number of {raw[1] / raw[0]:.0f}.",
        rf"With $m = 0$ the matrix is diagonal, $\sigma^2$ and 1: {centred[1] / centred[0]:.0f}.",
        rf"Divided by $\sigma$ it is the identity: {whole[1] / whole[0]:.0f}.",
        f"In the chapter there are {5 * 5 * 3} pixels",
    )


@of("rdfia_cd_q19_standardization-jitter")
def test_a_restless_curve_has_the_higher_maximum(text):
    second = np.diff(np.eye(3), 2, axis=0)[0]  # how the three values enter a second difference
    parts = sorted(int(k) ** 2 for k in second)
    assert parts == [1, 1, 4]
    noise = np.random.default_rng(0).normal(0, 0.7, 200_000)
    assert np.sqrt(np.mean(np.diff(noise, 2) ** 2) / 6) == pytest.approx(0.7, rel=0.01)
    assert np.allclose(np.diff(3 - 0.2 * np.arange(10), 2), 0)
    above = mean_of_largest(10)
    holds(
        text,
        "independent noise of variance $s^2$ the variance of the second difference",
        rf"is $(1 + 4 + 1)\,s^2 = {sum(parts)} s^2$.",
        "$y_t = a + b t$ has $a + b(t+1) - 2(a + bt) + a + b(t-1) = 0$.",
        f"The largest of ten independent normal numbers lies {above:.2f} standard deviations above their mean",
        f"{0.5 * above:.1f} points for the calm curve, {2 * above:.1f} for the restless one, a difference of "
        f"{1.5 * above:.1f} points",
    )


@of("rdfia_cd_q19_standardization-two")
def test_two_images_with_an_average_of_their_own_are_negatives(text):
    for n in (2, 3, 5, 8):
        centre = np.eye(n) - np.full((n, n), 1 / n)
        covariance = centre @ centre.T  # for variance 1
        assert covariance[0, 0] == pytest.approx(1 - 1 / n)
        assert covariance[0, 1] == pytest.approx(-1 / n)
        assert covariance[0, 1] / covariance[0, 0] == pytest.approx(-1 / (n - 1))
    pair = np.array([0.2, 0.9])
    left = pair - pair.mean()
    assert left == pytest.approx([(pair[0] - pair[1]) / 2, -(pair[0] - pair[1]) / 2])
    five = np.eye(5) - 1 / 5
    gone = 1 - (five @ five)[0, 0]
    holds(
        text,
        r"With $\bar x = \frac1n \sum_j x_j$, the variance of $x_i - \bar x$ is $\sigma^2 (1 - 1/n)$",
        r"is $-\sigma^2/n$, a correlation of $-1/(n - 1)$.",
        "For $n = 1$ nothing is left",
        r"For $n = 2$ it is $x_1 - \bar x = (x_1 - x_2)/2$ and the opposite",
        f"For $n = 5$ a {SHARES[round(1 / gone)]} of the variance is gone",
    )


# ------------------------------------------------------------------------------------------------- rdfia_cd_q1_theory


@of("rdfia_cd_q1_theory-zeros")
def test_a_convolution_is_a_matrix_of_mostly_zeros(text):
    torch.manual_seed(0)
    conv = nn.Conv2d(3, 1, 5, padding=2, bias=False).requires_grad_(False)
    matrix = conv(torch.eye(3 * 32**2).view(-1, 3, 32, 32)).flatten(1).T
    assert matrix.shape == (32**2, 3 * 32**2)
    entries = int((matrix != 0).sum())
    distinct = len(matrix[matrix != 0].unique())
    row = F.conv1d(torch.eye(32)[:, None], torch.ones(1, 1, 5), padding=2)
    touched = int(row.sum())
    assert entries == 3 * touched**2
    holds(
        text,
        r"The matrix has $32^2$ rows and $3 \cdot 32^2$ columns.",
        f"a window of 5 pixels has {row.shape[-1]} places",
        rf"would touch $5 \cdot {row.shape[-1]} = {5 * row.shape[-1]}$ pixels",
        "the outermost window loses 2 and the next one 1",
        rf"which leaves ${5 * row.shape[-1]} - 2 \cdot 3 = {touched}$.",
        f"In two directions that is ${touched}^2$, for each of three channels",
        rf"$$\frac{{3 \cdot {touched}^2}}{{32^2 \cdot 3 \cdot 32^2}} = \Bigl(\frac{{{touched}}}{{1024}}\Bigr)^2 = "
        rf"{100 * entries / matrix.numel():.2f}\,\% .$$",
        rf"$5 \cdot 5 \cdot 3 = {distinct}$",
        f"the {thousands(entries)} entries that are left repeat them.",
    )
    lost = (5 - row.sum((1, 2)).int()).tolist()
    assert lost[:3] == [2, 1, 0]


@of("rdfia_cd_q1_theory-field")
def test_fc4_sees_sixty_pixels_eight_apart(text):
    layers = as_convolutions(RdfiaNet(), (3, 32, 32))
    wide = [i for i, m in enumerate(layers) if isinstance(m, nn.Conv2d | nn.MaxPool2d)][:7]  # down to fc4
    fields = [field_table(nn.Sequential(*list(layers)[i : wide[-1] + 1]))[-1]["size"] for i in wide]
    names = ["conv1", "pool1", "conv2", "pool2", "conv3", "pool3", "fc4"]
    below = [(n, r) for n, r in zip(names[::-1], fields[::-1], strict=True)]
    chain = "$1 " + " $".join([rf"\to {r}$ ({n})" for n, r in below])
    last = field_table(layers)[-1]
    seen = receptive_field(layers, wide[-1], (3, 96, 96))
    width = int(seen.any(0).sum())
    assert width == fields[0] == last["size"]
    scores = layers(torch.zeros(1, 3, 96, 96))[0]
    strides = [layers[i].stride for i in wide if isinstance(layers[i], nn.MaxPool2d)]
    product = r" \cdot ".join(map(str, strides))
    holds(
        text,
        r"$r \mapsto s\,r + (k - s)$, beginning with one unit of fc4: ",
        chain,
        rf"neighbours are ${product} = {last['step']}$ pixels apart",
        rf"$(96 - 32)/{last['step']} + 1 = {scores.shape[1]}$ places in each direction: "
        rf"${scores.shape[1]} \cdot {scores.shape[2]} \cdot {scores.shape[0]}$ scores.",
        "The network was built for 32 pixels *with padding*: each convolution adds two rows of zeros on every side.",
        f"Of the {width} pixels that the unit depends on, {-last['start']} on either side are then padding",
    )
    assert width - 32 == -2 * last["start"]
    assert layers[0].padding == (2, 2)


@of("rdfia_cd_q1_theory-interval")
def test_other_test_images_would_move_the_gap_by_a_point(text):
    outcome = stats.rv_discrete(values=([-1, 0, 1], [0.125, 0.75, 0.125]))
    error = 100 * outcome.std() / math.sqrt(10_000)
    holds(
        text,
        rf"a standard error of about $\sqrt{{d / 10{{,}}000}}$: {POINTS[round(error, 3)]} for $d = "
        f"{1 - 0.75}$, so ± {stats.norm.ppf(0.975) * error:.0f} point at 95 %.",
        "wrong about four images in ten",
    )
    assert 2 * 0.4 * 0.6 > 0.25  # two networks that err independently disagree even more often


# ------------------------------------------------------------------------------------------ rdfia_cd_q22_augmentation


@of("rdfia_cd_q22_augmentation-cutmix")
def test_a_square_that_is_cut_off_covers_less_than_its_area(text):
    r = math.sqrt(0.3)
    kept = integrate.quad(lambda c: min(1, c + r / 2) - max(0, c - r / 2), 0, 1, points=[r / 2, 1 - r / 2])[0]
    assert kept == pytest.approx(r - r**2 / 4)
    assert kept == pytest.approx(r - 2 * integrate.quad(lambda c: r / 2 - c, 0, r / 2)[0])
    c = np.random.default_rng(0).uniform(size=(2, 200_000))
    sides = np.minimum(1, c + r / 2) - np.maximum(0, c - r / 2)
    assert sides.prod(0).mean() == pytest.approx(kept**2, abs=2e-3)
    too_much = 100 * (0.3 - kept**2)
    assert math.ceil(too_much) - too_much < 0.5  # "nearly"

    x = torch.arange(8.0).view(8, 1, 1, 1).expand(8, 1, 32, 32)
    mixed, labels = CutMix(8)(x, torch.arange(8), torch.Generator().manual_seed(0))
    shares = torch.stack([(mixed == k).float().mean((1, 2, 3)) for k in range(8)], 1)
    assert torch.allclose(labels, shares)
    holds(
        text,
        "loses $r/2 - c$ at the left end whenever $c < r/2$",
        r"the segment from $c - r/2$ to $c + r/2$, with $c$ uniform on $[0, 1]$",
        r"$$r - 2 \int_0^{r/2} \Bigl(\frac r2 - c\Bigr)\,\mathrm{d}c = r - \frac{r^2}{4} .$$",
        "so the mean share is $(r - r^2/4)^2$.",
        f"For $r^2 = 0.3$ it is ${r:.3f} - {r - kept:.3f} = {kept:.3f}$ squared, {100 * kept**2:.0f} %.",
        f"too generous by nearly {math.ceil(too_much)} points on average",
    )


@of("rdfia_cd_q22_augmentation-information")
def test_a_copy_made_by_chance_alone_holds_nothing_new(text):
    joint = {}
    for theta, throws, coin in itertools.product((0.2, 0.7), itertools.product((0, 1), repeat=3), (0, 1)):
        p = 0.5 * 0.5 * math.prod(theta if t else 1 - theta for t in throws)
        copy = throws[::-1] if coin else throws
        joint[theta, throws, copy] = joint.get((theta, throws, copy), 0) + p

    def entropy(*which):
        table = {}
        for key, p in joint.items():
            part = tuple(key[k] for k in which)
            table[part] = table.get(part, 0) + p
        return -sum(p * math.log2(p) for p in table.values())

    both = entropy(0) + entropy(1, 2) - entropy(0, 1, 2)
    alone = entropy(0) + entropy(1) - entropy(0, 1)
    more = entropy(0, 1) + entropy(1, 2) - entropy(1) - entropy(0, 1, 2)
    assert both == pytest.approx(alone + more)
    assert more == pytest.approx(0, abs=1e-12)
    assert alone > 0.1
    holds(
        text,
        r"$I(\theta; X, Z) = I(\theta; X) + I(\theta; Z \mid X)$.",
        r"independent of $\theta$, and the last term is zero",
    )


@of("rdfia_cd_q22_augmentation-many")
def test_eleven_comparisons_find_something_that_is_not_there(text):
    z = stats.norm.ppf(0.975)
    apart = 1 - (1 - 2 * stats.norm.sf(z)) ** 11

    def all_hold(b):
        """The probability that all eleven intervals hold zero, given the error of the baseline."""
        return (stats.norm.cdf(b + z * math.sqrt(2)) - stats.norm.cdf(b - z * math.sqrt(2))) ** 11

    together = 1 - integrate.quad(lambda b: stats.norm.pdf(b) * all_hold(b), -10, 10)[0]
    minus = np.array([[1, 0, -1], [0, 1, -1]])
    covariance = minus @ minus.T
    assert covariance[0, 1] / covariance[0, 0] == 0.5
    wide = stats.norm.isf(0.05 / 11 / 2)
    assert stats.t.isf(0.05 / 11 / 2, 5) > wide
    holds(
        text,
        rf"Independent: $1 - 0.95^{{11}} \approx {apart:.2f}$.",
        "two differences $a_i - b$ and $a_j - b$ share the error of $b$ and have a correlation of one half",
        f"to about {together:.2f} for normal errors",
        "An interval that keeps 95 % for all eleven together",
        rf"takes $\pm {wide:.2f}$ standard errors instead of $\pm {z:.2f}$, or more with few seeds.",
    )


# --------------------------------------------------------------------------------------------- rdfia_cd_q26_schedules


@of("rdfia_cd_q26_schedules-cloud")
def test_noisy_descent_settles_in_a_cloud_as_large_as_its_rate(text):
    def settled(rate, steep, spread):
        shrink = 1 - rate * steep
        noise = rate * spread * np.random.default_rng(0).normal(size=(200, 4000))
        x = np.zeros(4000)
        for kick in noise:
            x = shrink * x - kick
        return x.var()

    for rate, steep, spread in ((0.1, 1.0, 1.0), (0.3, 2.0, 0.5), (1.2, 1.0, 1.0)):
        formula = rate**2 * spread**2 / (1 - (1 - rate * steep) ** 2)
        assert settled(rate, steep, spread) == pytest.approx(formula, rel=0.1)
        assert formula == pytest.approx(rate * spread**2 / (steep * (2 - rate * steep)))
    assert settled(2.05, 1.0, 1.0) > 1e4  # beyond 2 / L
    fourth = [0.01 * 2**2 / (0.5 * steep * settled(0.01, steep, 2.0)) for steep in (3.0, 6.0)]
    assert fourth == pytest.approx([4, 4], rel=0.1)
    assert settled(0.01, 3.0, 1.0) == pytest.approx(settled(0.1 * 0.1, 3.0, 1.0))
    tenth = settled(0.01, 3.0, 1.0) / settled(0.1, 3.0, math.sqrt(1 / 10))
    assert tenth == pytest.approx(1, rel=0.2)
    holds(
        text,
        r"$x' = x - \eta\,(L x + \sigma \xi) = (1 - \eta L)\,x - \eta \sigma \xi$.",
        r"$$V = (1 - \eta L)^2 V + \eta^2 \sigma^2 \quad\Longrightarrow\quad V = \frac{\eta^2 \sigma^2}"
        r"{1 - (1 - \eta L)^2} = \frac{\eta\,\sigma^2}{L\,(2 - \eta L)},$$ for $0 < \eta < 2/L$",
        rf"$\tfrac12 L V \approx \eta\,\sigma^2 / {fourth[0]:.0f}$.",
        r"With batches of $B$ images $\sigma^2 \propto 1/B$, so what counts is $\eta / B$",
        "a tenth of the rate does what ten times the batch would",
    )


def valley() -> tuple[float, float]:
    """The best rate for curvatures 1 and 0.01, found by search, and the factor of its steps."""
    worst = lambda rate: max(abs(1 - rate), abs(1 - 0.01 * rate))  # noqa: E731
    rate = optimize.minimize_scalar(worst, bounds=(0.1, 2.5), method="bounded", options={"xatol": 1e-12}).x
    return rate, worst(rate)


@of("rdfia_cd_q26_schedules-valley")
def test_plain_descent_crosses_the_valley_in_231_steps(text):
    rate, factor = valley()
    point, steps = np.array([0.6, 0.8]), 0
    while np.linalg.norm(point) >= 0.01:
        point, steps = point * (1 - (2 / 1.01) * np.array([1, 0.01])), steps + 1
    assert rate == pytest.approx(2 / (1 + 0.01), rel=1e-6)
    assert factor == pytest.approx((100 - 1) / (100 + 1), rel=1e-6)
    holds(
        text,
        r"by $1 - \eta$ and $1 - 0.01\,\eta$.",
        rf"$\eta - 1 = 1 - 0.01\,\eta$: $\eta = 2 / 1.01 = {rate:.2f}$, and the factor is $0.99 / 1.01 = "
        f"{factor:.4f}$.",
        r"(In general $\eta = 2/(L_1 + L_2)$ and $(\kappa - 1)/(\kappa + 1)$.)",
        rf"${factor:.4f}^n < 0.01$ takes $n > \ln 100 / {-math.log(factor):.4f} = {steps - 1}.",
        f"which is {steps} steps; the run:",
    )


@of("rdfia_cd_q26_schedules-valley")
def test_a_hundredth_of_the_distance_is_reached_between_two_steps(text):
    least = math.log(100) / -math.log(0.99 / 1.01)
    holds(text, rf"$n > \ln 100 / 0.0200 = {least:.1f}$")


def first_steps(betas: tuple[float, float], count: int, corrected: bool) -> list[float]:
    """The lengths of Adam's steps, in units of the rate, with a gradient that stays the same."""
    weight, gradient_, lengths = np.zeros(1), np.array([0.37]), []
    adam = Adam(1.0, betas, eps=0.0)
    for t in range(1, count + 1):
        before = weight.copy()
        adam.step([weight], [gradient_])
        undo = 1 if corrected else (1 - betas[0] ** t) / math.sqrt(1 - betas[1] ** t)
        lengths.append(abs(float(weight[0] - before[0])) * undo)
    return lengths


@of("rdfia_cd_q26_schedules-adam")
def test_adam_without_its_correction_begins_with_steps_too_long(text):
    for size in (1e-3, 0.37, 40.0):
        weight = torch.zeros(1, dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.Adam([weight], lr=0.01, eps=0)
        weight.grad = torch.full_like(weight, -size)
        optimizer.step()
        assert weight.item() == pytest.approx(0.01)
    m = v = 0.0
    raw = []
    for _ in range(3000):
        m, v = 0.9 * m + 0.1 * 0.37, 0.999 * v + 0.001 * 0.37**2
        raw.append(m / math.sqrt(v))
    assert first_steps((0.9, 0.999), 50, corrected=False) == pytest.approx(raw[:50])
    assert first_steps((0.9, 0.999), 50, corrected=True) == pytest.approx([1] * 50)
    longest = int(np.argmax(raw))

    plain = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD([plain], lr=0.01, momentum=0.9)
    for _ in range(400):
        before = plain.item()
        plain.grad = torch.ones_like(plain)
        optimizer.step()
    settled = before - plain.item()
    holds(
        text,
        r"(a) $m = (1 - \beta_1)\,g$ and $v = (1 - \beta_2)\,g^2$ are divided by $1 - \beta_1$ and $1 - \beta_2$: "
        r"the step is $\eta\,g/|g|$. It is $\eta$ long",
        rf"(b) $(1 - \beta_1)/\sqrt{{1 - \beta_2}} = {1 - 0.9:.1f}/{math.sqrt(1 - 0.999):.4f} = {raw[0]:.1f}$ times",
        r"(c) After $t$ steps the factor is $(1 - 0.9^t)/\sqrt{1 - 0.999^t}$.",
        f"the largest value, {raw[longest]:.1f}, at $t = {longest + 1}$.",
        rf"(d) The velocity $u \leftarrow 0.9\,u + g$ settles at $g/(1 - 0.9) = {settled / 0.01:.0f}\,g$: like plain "
        f"descent at {settled:.1g}.",
        "momentum would only have been given ten times the rate",
    )


# ------------------------------------------------------------------------------------- rdfia_cd_q29_dropout_batchnorm


@of("rdfia_cd_q29_dropout_batchnorm-handicap")
def test_masks_never_lower_the_mean_loss_but_may_mend_an_answer(text):
    p, mended = 0.3, False
    masks = torch.tensor(list(itertools.product((0.0, 1.0), repeat=5)), dtype=torch.float64)
    chance = ((1 - p) ** masks.sum(1)) * p ** (5 - masks.sum(1))
    masks = masks / (1 - p)
    assert torch.allclose(chance @ masks, torch.ones(5, dtype=torch.float64))
    for seed in range(20):
        draw = torch.Generator().manual_seed(seed)
        w, b, h = (torch.randn(*shape, generator=draw).double() for shape in ((3, 5), (3,), (5,)))
        z, whole = (masks * h.relu()) @ w.T + b, h.relu() @ w.T + b
        assert torch.allclose(chance @ z, whole)
        assert chance @ -z.log_softmax(1)[:, 0] >= -whole.log_softmax(0)[0]
        mended = mended or bool(whole.argmax() != 0 and (z.argmax(1) == 0).any())
        loss = lambda s: -s[0] + s.exp().sum().log()  # noqa: E731
        assert torch.allclose(loss(whole), -whole.log_softmax(0)[0])
        hessian = torch.autograd.functional.hessian(loss, whole)
        y = whole.softmax(0)
        assert torch.allclose(hessian, y.diag() - y[:, None] * y)
        assert torch.linalg.eigvalsh(hessian).min() > -1e-12
    assert mended
    holds(
        text,
        rf"has the expectation $(1 - p) \cdot \frac{{1}}{{1 - p}} = {float((chance @ masks)[0]):.3g}$",
        r"so $\mathrm{E}\,z = W h + b$: the scores without dropout.",
        r"$\ell(z) = -z_y + \log \sum_k e^{z_k}$",
        r"$\mathrm{diag}(\hat y) - \hat y \hat y^T$ has no negative eigenvalue",
        r"$$\mathrm{E}\,\ell(z) \ge \ell(\mathrm{E}\,z) .$$",
        "where the complete network is wrong, some mask may be right",
    )


@of("rdfia_cd_q29_dropout_batchnorm-variance")
def test_dropout_multiplies_the_variance_of_a_relu_by_two_and_a_half(text):
    mean, square = (integrate.quad(lambda x, k=k: x**k * stats.norm.pdf(x), 0, 12)[0] for k in (1, 2))
    before = square - mean**2
    after = 0.5 * 4 * square - mean**2  # the mask is 0 or 2, each with probability one half
    assert square == pytest.approx(0.5)
    assert mean**2 == pytest.approx(1 / (2 * math.pi))
    x = np.random.default_rng(0).normal(size=(1, 400_000)).clip(0).astype(np.float32)
    assert Dropout(0.5, 1).forward(x, training=True).var() == pytest.approx(after, rel=0.02)
    for p, shift in itertools.product((0.1, 0.5, 0.8), (-2.0, 0.0, 5.0)):
        values = np.array([0.0, 1.0, 4.0]) + shift
        masked = np.concatenate([0 * values, values / (1 - p)])
        weights = np.repeat([p, 1 - p], 3) / 3
        variance = weights @ masked**2 - (weights @ masked) ** 2
        assert weights @ masked == pytest.approx(values.mean())
        assert variance == pytest.approx((values**2).mean() / (1 - p) - values.mean() ** 2)
        assert variance == pytest.approx(values.var() / (1 - p) + p / (1 - p) * values.mean() ** 2)
        assert variance / values.var() >= 1 / (1 - p) - 1e-12
    holds(
        text,
        r"$\mathrm{E}[x m] = \mathrm{E}[x]$ and $\mathrm{E}[(x m)^2] = \mathrm{E}[x^2] (1 - p)/(1 - p)^2 = "
        r"\mathrm{E}[x^2]/(1 - p)$",
        r"$$\mathrm{Var}[x m] = \frac{\mathrm{E}[x^2]}{1 - p} - \mathrm{E}[x]^2 "
        r"= \frac{\mathrm{Var}[x]}{1 - p} + \frac{p}{1 - p}\,\mathrm{E}[x]^2 .$$",
        rf"$\mathrm{{E}}[x^2] = \tfrac1{round(1 / square)}$ and $\mathrm{{E}}[x]^2 = 1/(2\pi) = {mean**2:.3f}$: from "
        f"{before:.3f} to {after:.3f}, a factor of {after / before:.1f}.",
    )


@of("rdfia_cd_q29_dropout_batchnorm-order")
def test_a_ladder_gives_the_interaction_to_whoever_comes_last(text):
    a, b, i = 3.0, 2.0, -1.5
    level = {(0, 0): 0.0, (1, 0): a, (0, 1): b, (1, 1): a + b + i}
    assert [level[1, 0] - level[0, 0], level[1, 1] - level[1, 0]] == [a, b + i]
    assert [level[0, 1] - level[0, 0], level[1, 1] - level[0, 1]] == [b, a + i]
    assert [level[1, 1] - level[0, 1], level[1, 1] - level[1, 0]] == [a + i, b + i]
    gain, interaction = np.array([0, 0, 1, -1]), np.array([1, -1, -1, 1])
    scatter = [math.sqrt(weights @ weights) for weights in (gain, interaction)]
    seeds = (scatter[1] / scatter[0]) ** 2
    holds(
        text,
        "A first: A gets $a$ and B gets $b + i$. B first: B gets $b$ and A gets $a + i$.",
        "the steps add up to $a + b + i$;",
        "With $i < 0$",
        '"Left out of the whole" gives $a + i$ and $b + i$:',
        "Only for $i = 0$ does the order not matter.",
        rf"a gain would scatter with $\sqrt{scatter[0] ** 2:.0f}\,s$ and the interaction with ${scatter[1]:.0f} s$: "
        f"{TIMES[round(seeds)]} the seeds for the same width.",
    )
