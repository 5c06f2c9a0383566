"""The numbers typed into the folded solutions of A1, A3, HW3 and NNDL, computed again."""

from __future__ import annotations

import math
import re
from itertools import permutations, product

import numpy as np
import pytest
import torch
from exercise_texts import exercises, labels, solution
from numpy.testing import assert_allclose
from scipy import integrate, optimize, stats
from sklearn.metrics import silhouette_samples
from torch import nn
from torch.nn import functional as F

from cifar_utils.models.deep import DeepNetwork, Setting
from cifar_utils.models.dynamic import POOLED, WIDTH_FACTORS, DynamicConv2d, DynamicNet
from cifar_utils.models.encoder import Encoder, NetworkB
from cifar_utils.scratch.network import Network
from cifar_utils.train.triplets import batch_hard_loss, semi_hard_loss

PREFIXES = ("a1_", "a3_", "hw3_", "nndl_")

#: Solutions without a typed number or formula that could be wrong.
NOTHING_TO_COMPUTE = {
    "a1_q2_3_tsne-mode": "all its numbers are glued from runs; the rest names the two changes in words",
}

#: Labels that a test below computes.
COMPUTED: set[str] = set()


@pytest.fixture
def text(request) -> str:
    return solution(request.param)


def of(label: str):
    COMPUTED.add(label)
    return pytest.mark.parametrize("text", [label], indirect=True)


def tex(number: float) -> str:
    """Write a whole number as formulas do, with a comma that leaves no gap."""
    return f"{round(number):,}".replace(",", "{,}")


def power(number: float, digits: int = 0, base: str = "{} \\cdot 10^{{{}}}") -> str:
    """Write a number with its power of ten in LaTeX."""
    mantissa, exponent = f"{number:.{digits}e}".split("e")
    return base.format(mantissa, int(exponent))


def error(p: float, n: int) -> float:
    """Return the standard deviation of a share of n images, in points."""
    return 100 * stats.binom(n, p).std() / n


def highest_of(n: int) -> float:
    """Return the mean of the largest of n normal draws."""
    return integrate.quad(lambda x: x * n * stats.norm.pdf(x) * stats.norm.cdf(x) ** (n - 1), -10, 10)[0]


def double(*values: float, grad: bool = True) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64, requires_grad=grad)


def size(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def test_every_exercise_is_computed_or_listed_with_a_reason():
    listed = set(NOTHING_TO_COMPUTE)
    assert not COMPUTED & listed
    assert COMPUTED | listed == labels(PREFIXES)


# A1, question 1: softmax regression


@of("a1_q1_softmax_regression-epsilon")
def test_gradient_is_halved_where_the_probability_is_epsilon(text):
    epsilon = 1e-10

    def gradient(m: float) -> np.ndarray:
        z = double(0, m)
        (-(z.softmax(0)[0] + epsilon).log()).backward()
        return z.grad.numpy()

    for m in (0.5, 10, 24):
        p = double(0, m, grad=False).softmax(0).numpy()
        assert_allclose(gradient(m), p[0] / (p[0] + epsilon) * (p - [1, 0]), rtol=1e-9)
    assert r"Together that is $\frac{p_c}{p_c + \epsilon}\,(p_j - y_j)$" in text
    assert (
        r"By the chain rule $\partial \ell / \partial z_j = -\frac{1}{p_c + \epsilon}\,\partial p_c / \partial z_j$"
        in text
    )
    assert_allclose(double(0, 20, grad=False).softmax(0)[0], [1 / (1 + math.exp(20))])
    assert_allclose(1 / (1 + math.exp(20)), math.exp(-20))
    assert r"$p_c = 1/(1 + e^m) \approx e^{-m}$, while $1 - p_c$ is nearly 1." in text
    half = optimize.brentq(lambda m: abs(gradient(m)[0]) - 0.5, 5, 40)
    assert rf"at $m = 10 \ln 10 = {half:.1f}$: between the rows for 20 and 25" in text and 20 < half < 25
    left = abs(gradient(40)[0])
    assert (
        rf"At 40 it is about $e^{{-40}} \cdot 10^{{{-math.log10(epsilon):.0f}}}$, four parts in a hundred million"
        in text
    )
    assert round(left * 1e8) == 4
    worst = -math.log(np.nextafter(0, 1) + epsilon)
    assert rf"$-\ln \epsilon = {worst:.1f}$" in text


@of("a1_q1_softmax_regression-seen")
def test_until_every_image_has_been_seen(text):
    def missed(n: float, images: int) -> float:
        return images * (1 - 1 / images) ** n

    rng = np.random.default_rng(0)
    draws = [rng.integers(1000, size=5120) for _ in range(300)]
    assert_allclose(np.mean([1000 - len(np.unique(d)) for d in draws]), missed(5120, 1000), rtol=0.05)
    assert r"with probability $(1 - 1/N)^n \approx e^{-n/N}$, so $N e^{-n/N}$ images" in text
    passes = {n: optimize.brentq(lambda p, n=n: missed(p * n, n) - 1, 1, 50) for n in (50_000, 40_000)}
    assert f"{passes[50_000]:.1f} passes for 50,000 images, {passes[40_000]:.1f} for 40,000" in text
    assert f"After {1000 * 256 / 50_000:.2f} passes there are" in text
    seen, left = 2000 * 256 / 40_000, missed(2000 * 256, 40_000)
    assert f"2,000 iterations over 40,000 images, which are {seen:.1f} passes, it is {left:.2f}:" in text


def never_five_rises(losses: int) -> float:
    """Return the exact share of orders without five rises in a row."""
    # its generating function is the reciprocal of 1 - z + z^6/6! - z^7/7! + ...
    terms = [(6 * j + k, sign / math.factorial(6 * j + k)) for j in range(3) for k, sign in ((0, 1), (1, -1))][1:]
    share = [1.0]
    for n in range(1, losses + 1):
        share.append(-sum(weight * share[n - k] for k, weight in terms if k <= n))
    return share[-1]


@of("a1_q1_softmax_regression-noise")
def test_noise_sets_off_the_rule_of_five_rises(text):
    orders = list(permutations(range(6)))
    rising = sum(all(a < b for a, b in zip(o, o[1:], strict=False)) for o in orders)
    assert rising == 1 and f"all $6! = {len(orders)}$ orders of six draws" in text
    longer = np.array(list(permutations(range(7))))
    up = np.diff(longer) > 0
    begins = (~up[:, 0] & up[:, 1:].all(1)).sum()
    assert len(longer) % begins == 0
    assert f"$1/{len(orders)} - 1/{len(longer)} = 1/{len(longer) // begins}$, since $1/7!$" in text
    runs = 2000 * begins / len(longer)
    assert f"In 2,000 iterations about {runs:.1f} runs" in text
    assert rf"$e^{{-{runs:.1f}}} \approx {math.exp(-runs):.2f}$" in text
    up = np.diff(np.random.default_rng(0).random((10_000, 2000), dtype=np.float32)) > 0
    quiet = 1 - (up[:, :-4] & up[:, 1:-3] & up[:, 2:-2] & up[:, 3:-1] & up[:, 4:]).any(1).mean()
    assert_allclose(quiet, never_five_rises(2000), atol=0.01)


@of("a1_q1_softmax_regression-noise")
def test_counting_orders_gives_what_the_text_says(text):
    assert f"(Counted exactly for 2,000 independent losses it is {never_five_rises(2000):.2f}, too.)" in text


# A1, question 2: embeddings


@of("a1_q2_1_triplet_encoder-collapse")
def test_triplet_loss_is_a_straight_line_in_the_scale(text):
    torch.manual_seed(0)
    z, y = F.normalize(torch.randn(60, 8, dtype=torch.float64)), torch.arange(60) % 3
    for loss, direction in ((batch_hard_loss, 1), (semi_hard_loss, -1)):
        scales = double(*np.linspace(0.01, 0.2, 5), grad=False)
        values = torch.stack([loss(c * z, y, 1.0) for c in scales]).numpy()
        slope, start = np.polyfit(scales, values, 1)
        assert_allclose(values, start + slope * scales.numpy(), rtol=1e-6)
        assert_allclose(start, 1, rtol=1e-6)
        assert np.sign(slope) == direction
    assert r"is $\text{margin} + c\,(\bar d_+ - \bar d_-)$, a straight line in $c$" in text
    assert r"before training $\bar d_+ > \bar d_-$: the slope is positive" in text
    assert r"so $\bar d_+ < \bar d_-$, the slope is negative" in text


@of("a1_q2_1_triplet_encoder-batch")
def test_only_512_makes_79_iterations(text):
    fits = [b for b in range(1, 2000) if len(range(0, 40_000, b)) == 79]
    assert rf"It is 79 when $78 < 40{{,}}000/B \le 79$, that is for $B$ from {fits[0]} to {fits[-1]}." in text
    assert [b for b in (256, 500, 512, 1000, 1024) if b in fits] == [512]
    assert f"only 512 is among them; with 1,024 it would be {len(range(0, 40_000, 1024))}." in text
    assert r"$2{,}000 \cdot 512 / 40{,}000$" in text and 2000 * 512 / 40_000 != 20
    assert r"is $\lceil 40{,}000 / B \rceil$" in text
    assert "With 512, 2,000 iterations are" in text and "epochs, not 20." in text


@of("a1_q2_1_triplet_encoder-dimension")
def test_participation_ratio_brackets_the_largest_share(text):
    def ratio(v: np.ndarray) -> float:
        return v.sum() ** 2 / (v**2).sum()

    assert all(math.isclose(ratio(np.repeat([3.0, 0.0], [m, 5])), m) for m in range(1, 9))
    assert "For $m$ equal variances it is $m^2/m = m$." in text
    for shares in np.random.default_rng(0).dirichlet(np.full(6, 0.5), 500):
        assert 1 / ratio(shares) <= shares.max() + 1e-12 <= 1 / math.sqrt(ratio(shares)) + 2e-12
    assert r"$1/\text{PR} = \sum s_i^2$" in text
    assert r"at least $s_1^2$, so $s_1 \le 1/\sqrt{\text{PR}}$; and at most $s_1 \sum s_i = s_1$" in text
    assert f"with 10 of {Encoder(width=2).dim} components" in text


@of("a1_q2_3_tsne-guessing")
def test_random_labels_are_guessed_in_one_case_of_ten(text):
    chance = 1 / 10
    rng = np.random.default_rng(0)
    truth, votes = rng.integers(10, size=200_000), rng.choice(10, size=200_000, p=np.arange(10) / 45)
    assert_allclose(np.mean(truth == votes), chance, atol=0.003)
    assert f"with probability 1/{1 / chance:.0f}: on average exactly {chance:.0%}".replace("%", " %") in text
    assert rf"$\sqrt{{{chance} \cdot {1 - chance} / n}}$, for 1,000 of them {error(chance, 1000):.2f} points" in text
    low, high = (100 * chance + s * 1.96 * error(chance, 1000) for s in (-1, 1))
    assert f"95 of 100 such shares lie between about {low:.0f} and {high:.0f} %" in text


@of("a1_q2_3_tsne-silhouette")
def test_two_tight_islands_have_a_bad_silhouette(text):
    n = 400
    places = np.repeat([0.0, 10.0, 4.0], [n, n, 2 * n])[:, None]
    found = silhouette_samples(places, np.repeat([0, 1], 2 * n))
    at0, at10, at4 = found[0], found[n], found[-1]
    a, b = 5, 4
    assert_allclose(np.abs(places[:, 0] - places[0, 0])[1 : 2 * n].mean(), a, rtol=0.01)
    fifth, sixth = round(1 / at0), round(1 / at10)
    assert_allclose([at0, at10], [1 / fifth, 1 / sixth], rtol=0.02)
    assert rf"$a \approx {a}$ (half of its class is at 0, half at 10) and $b = {b}$: $-1/{-fifth}$." in text
    assert rf"At 10, $a \approx {a}$ and $b = {10 - 4}$: $+1/{sixth}$." in text
    assert rf"At 4, $a \approx 0$: $+{at4:.0f}$." in text


@of("a1_q2_4_softmax_on_embeddings-batch")
def test_best_batch_speaks_for_256(text):
    small, large = error(0.593, 256), error(0.593, 1024)
    assert f"{small:.2f} points for 256 images and {large:.2f} for 1,024." in text
    ahead = 68.9 - 59.3
    assert f"is {ahead / small:.1f} of the first and {ahead / large:.1f} of the second above the mean" in text
    best = [59.3 + highest_of(1000) * e for e in (small, large)]
    assert (
        f"of 256 one expects the best near {best[0]:.0f} %, of a thousand batches of 1,024 near {best[1]:.0f} %"
        in text
    )
    assert f"200 give {highest_of(200):.1f} standard deviations, 10,000 give {highest_of(10_000):.1f}.)" in text
    assert f"{highest_of(1000):.1f} standard deviations" in exercises("a1_q2_4_softmax_on_embeddings")


@of("a1_q2_4_softmax_on_embeddings-constant")
def test_constant_is_divided_by_the_batch_and_multiplied_by_the_scale(text):
    w = double(0.7, -1.3)
    batch = 32
    (0.1 / (2 * batch) * w.square().sum()).backward()
    assert_allclose(w.grad, 0.1 * w.detach() / batch)
    assert r"leaves $0.1\,W/B$ beside the mean" in text and r"\lVert W \rVert^2$ is $2 \lambda W$" in text
    assert r"$\lambda = 0.1/(2B)$" in text
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 3)), rng.integers(2, size=40)

    def scores(c: float, strength: float) -> np.ndarray:
        def loss(w: np.ndarray) -> float:
            return np.logaddexp(0, (1 - 2 * y) * (c * x @ w)).mean() + strength * (w**2).sum()

        return c * x @ optimize.minimize(loss, np.zeros(3), options={"gtol": 1e-9}).x

    assert_allclose(scores(3, 0.1 * 3**2), scores(1, 0.1), atol=1e-5)
    assert np.abs(scores(3, 0.1 * 3) - scores(1, 0.1)).max() > 0.01
    assert r"penalty then is $(\lambda / c^2) \lVert W \rVert^2$ in the old weights" in text
    assert r"$\lambda$ must be multiplied by $c^2$" in text
    assert_allclose(scores(0.5, 0.1), scores(1, 0.1 / 0.5**2), atol=1e-5)
    assert r"a constant of 0.1 on them acts like $0.1/\sigma^2$ on standardised features" in text


@of("a1_q2_4_softmax_on_embeddings-gap")
def test_gap_has_a_part_of_the_encoder_and_one_of_the_classifier(text):
    question = " ".join(exercises("a1_q2_4_softmax_on_embeddings").split())
    numbers = (
        r"right for (\d+) % of that half, for (\d+) % of the other half and for (\d+) % of the images that the enc"
    )
    own, honest, seen = map(int, re.search(numbers, question).groups())
    assert f"{honest} % is the honest number" in text
    assert f"their {seen} % is the encoder's doing: {seen - honest} points" in text
    assert f"its {own} % is the classifier's doing: {own - honest} points" in text


@of("a1_q2_5_network_b-together")
def test_one_unit_answers_only_to_both_pixels(text):
    corners = torch.tensor(list(product((1.0, 0.0), repeat=2)))
    signs = torch.tensor([1.0, -1.0, -1.0, 1.0])
    torch.manual_seed(0)
    linear = nn.Linear(2, 3)
    assert_allclose((signs @ linear(corners)).detach(), 0, atol=1e-6)
    assert "With $f = w_1 x_1 + w_2 x_2 + b$ the four terms cancel." in text
    assert (signs @ linear(corners).softmax(1)).abs().max() > 1e-4
    unit = (corners.sum(1) - 1).relu()
    one, *others, last = (f"{v:.0f}" for v in unit)
    values = f"{', '.join((one, *others))} and {last}"
    assert rf"$f = \max(0, x_1 + x_2 - 1)$ the values are {values}, so it is {signs @ unit:.0f}:" in text


@of("a1_q2_5_network_b-contrast")
def test_network_b_in_training_mode_does_not_see_half_the_contrast(text):
    torch.manual_seed(0)
    network = NetworkB(Encoder(width=2, dim=4, dropout=0)).double()
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.eps, layer.momentum = 1e-18, 1.0
    x = torch.randn(8, 3, 32, 32, dtype=torch.float64)
    first = network.encoder.body[0]
    bias = first.bias[:, None, None]
    assert_allclose(first(x / 2).detach(), ((first(x) - bias) / 2 + bias).detach(), atol=1e-12)
    assert r"its output is $\tfrac12 (W * x) + b$" in text
    assert_allclose(network(x / 2).detach(), network(x).detach(), atol=1e-9)
    network.eval()
    assert (network(x / 2) - network(x)).abs().max() > 1e-3


@of("a1_q2_5_network_b-nine")
def test_one_of_nine_intervals_may_well_leave_out_zero(text):
    outside = stats.binom(9, 0.05)
    assert rf"$9 \cdot 0.05 = {outside.mean():.2f}$" in text
    assert rf"$1 - 0.95^9 = {100 * outside.sf(0):.0f}\,\%$" in text
    assert f"but not above {100 * outside.mean():.0f} %" in text
    level = optimize.brentq(lambda p: stats.binom(9, 1 - p).mean() - 0.05, 0.9, 1)
    assert rf"$1 - 0.05/9 = {100 * level:.1f}\,\%$ (Bonferroni)" in text


# A3: a network by hand, letters, frozen features


@of("a3_q2_mnist_from_scratch-waits")
def test_tiny_start_waits_a_hundred_times_longer(text):
    def gradient(w: float, depth: int) -> float:
        return (w**depth - 1) * w ** (depth - 1)

    weights = double(*[0.3] * 4)
    (0.5 * (weights.prod() - 1) ** 2).backward()
    assert_allclose(weights.grad, gradient(0.3, 4))
    assert "The chain rule gives $(w^L - 1)\\,w^{L-1}$ for each weight." in text

    def steps(start: float) -> int:
        w, n = start, 0
        while w < 2 * start:
            w, n = w - 0.1 * gradient(w, 4), n + 1
        return n

    slow, quick = steps(0.01), steps(0.1)
    stated = [
        int(n.replace(",", "")) for n in re.search(r": (\S+) steps from 0.01 and (\S+) from 0.1\.", text).groups()
    ]
    assert_allclose(stated, [slow, quick], rtol=0.01)
    assert_allclose([3 / (8 * w**2) / 0.1 for w in (0.01, 0.1)], stated)
    assert "Doubling takes $t = 3/(8 w_0^2)$" in text and "$1/w_0^2 - 1/w^2 = 2t$" in text
    assert r"adds about $0.1\,w^{L-1}$. For $L = 4$ this is $\mathrm{d}w/\mathrm{d}t = w^3$" in text
    assert_allclose(-gradient(0.01, 4), 0.01**3, rtol=1e-6)
    assert round(slow / quick, -1) == 100 and "Ten times smaller costs a hundred times the steps." in text
    gain = -0.1 * gradient(0.01, 1)
    assert f"For $L = 1$ the first step adds about {gain:.1f}, and $w$ is more than ten times what it was." in text
    assert round(gain / 0.01) == 10
    rng = np.random.default_rng(0)
    matrices = [d.parameters[0] for d in Network([784, 256, 128, 64, 10], "relu", seed=0).dense]
    stretch = np.linalg.svd(np.linalg.multi_dot([rng.uniform(0, 0.01, m.shape) for m in matrices]), compute_uv=False)
    assert rf"($\mu = 0.005$) the product is about {stretch[0]:.1f}, while" in text
    assert_allclose(stretch[0], math.prod(0.005 * math.sqrt(m.size) for m in matrices), rtol=0.1)
    widest = math.prod(0.01 / math.sqrt(12) * sum(map(math.sqrt, m.shape)) for m in matrices)
    assert f"while all other directions begin below {widest:.5f}." in text and stretch[1] < widest < float(
        f"{widest:.5f}"
    )


@of("a3_q2_mnist_from_scratch-linear")
def test_narrowest_layer_is_wider_than_the_classes(text):
    network = Network([784, 256, 128, 64, 10], "relu", seed=0)
    widths = [d.parameters[0].shape[1] for d in network.dense]
    assert (
        f"the narrowest layer has {min(widths[:-1])} units, more than the ten classes need: the four layers" in text
    )
    product_of_all = np.linalg.multi_dot([d.parameters[0] for d in network.dense])
    assert np.linalg.matrix_rank(product_of_all) == widths[-1] == 10 and len(widths) == 4


@of("a3_q2_mnist_from_scratch-three")
def test_interval_of_three_seeds_is_wider_than_their_range(text):
    third = np.linspace(0, 1, 101)
    span = max(1 / np.std([0, 1, x], ddof=1) for x in third)
    half = {n: stats.t.ppf(0.975, n - 1) / math.sqrt(n) for n in (3, 12)}
    assert f"three runs span at most ${span:.0f}s$, and the interval is ${2 * half[3]:.0f}s$ wide" in text
    t3, t12, normal = stats.t.ppf(0.975, 2), stats.t.ppf(0.975, 11), stats.norm.ppf(0.975)
    assert f"degrees of freedom is {t3:.2f}, where many seeds would have {normal:.2f}" in text
    assert rf"${t3:.2f}\,s/\sqrt3 = {half[3]:.2f}\,s$" in text
    assert rf"with twelve ${t12:.2f}\,s/\sqrt{{12}} = {half[12]:.2f}\,s$: narrower by a factor of" in text
    assert f"narrower by a factor of {half[3] / half[12]:.1f}. A factor of {math.sqrt(12 / 3):.0f} comes from" in text


@of("a3_q3_ocr_letters-surer")
def test_one_mistake_makes_the_loss_as_large_as_one_likes(text):
    z, c = double(2.0, 3.5, -1.0, grad=False), 0
    assert r"is $\ln \sum_j e^{s(z_j - z_c)}$, with $c$ the right class" in text
    assert r"the loss is at least $s\,(\max_j z_j - z_c)$, which grows without bound" in text
    for s in (1, 4, 40):
        loss = F.cross_entropy(s * z, torch.tensor(c))
        assert_allclose(loss, (s * (z - z[c])).exp().sum().log())
        assert loss >= s * (z.max() - z[c])
    assert F.cross_entropy(40 * z, torch.tensor(1)) < 1e-20
    assert "the loss falls to 0." in text


@of("a3_q3_ocr_letters-close")
def test_true_settings_are_not_at_distance_zero(text):
    ratios = np.diff(np.random.default_rng(0).normal(size=(200_000, 6, 2)))[..., 0]
    squares = (ratios**2).mean(1)
    assert_allclose(squares.mean(), 2, rtol=0.01)
    assert r"has variance $2\sigma^2$, so $d^2$ is $2\sigma^2$ on average, and not 0" in text
    low, high = stats.chi2(6).interval(0.95)
    assert r"The sum $6\,d^2 / (2\sigma^2)$ follows" in text
    assert r"a $\chi^2$ distribution with 6 degrees of freedom, which" in text
    assert f"which lies between {low:.2f} and {high:.1f} in 95 % of cases" in text
    near, far = (math.sqrt(2 * q / 6) for q in (low, high))
    assert_allclose(np.sqrt(np.quantile(squares, [0.025, 0.975])), [near, far], rtol=0.01)
    assert rf"between ${near:.2f}\,\sigma$ and ${far:.2f}\,\sigma$, a factor of {far / near:.1f} by luck" in text


@of("a3_q3_ocr_letters-ridge")
def test_adam_wants_a_larger_rate_for_larger_batches(text):
    letters = 64 * 256

    def distance(optimizer, mean: float, noise: float, batch: int) -> float:
        torch.manual_seed(0)
        w = nn.Parameter(torch.zeros(6000))
        steps = optimizer([w], lr=1e-3)
        for _ in range(letters // batch):
            w.grad = mean + noise / math.sqrt(batch) * torch.randn(6000)
            steps.step()
        return -w.detach().mean().item()

    def factor(*how) -> float:
        return distance(*how, 64) / distance(*how, 1024)

    sgd, same, noisy = (
        factor(torch.optim.SGD, 1, 0.1),
        factor(torch.optim.Adam, 1, 0.1),
        factor(torch.optim.Adam, 0.002, 1),
    )
    assert round(sgd) == round(same) == 16 and "the factor is 16 again" in text
    assert "a sixteenfold batch wants a sixteenfold rate" in text
    assert rf"the factor is $\sqrt{{{sgd:.0f}}} = {noisy:.0f}$." in text
    assert f"hardly {noisy:.0f} from {same:.0f}." in text
    assert r"moves a weight by $\eta N/B$" in text and r"$\eta\,(N/B)\sqrt B = \eta N / \sqrt B$" in text


@of("a3_q4_alexnet_features-printed")
def test_keras_would_print_the_mean_label(text):
    clipped = np.float32(1) - np.float32(1e-7)
    cost = -math.log(clipped)
    binary = int(math.log2(1 - float(clipped)))
    assert rf"its label times $-\ln(1 - 2^{{{binary}}}) \approx 2^{{{binary}}}$" in text
    labels_of = {"binary": np.repeat([1, 0], [3000, 7000]), "ten": np.repeat(np.arange(10), 1000)}
    loss = {k: np.mean(v * cost) for k, v in labels_of.items()}
    mean = {k: v.mean() for k, v in labels_of.items()}
    assert f"the mean *label* times $2^{{{binary}}}$. With 3,000 ones" in text
    assert rf"that is ${mean['binary']} \cdot 2^{{{binary}}} = {power(loss['binary'], 4)}$" in text
    assert f"with ten classes the mean label is {mean['ten']} and the loss ${power(loss['ten'], 4)}$" in text


@of("a3_q4_alexnet_features-proves")
def test_early_numbers_prove_more_than_late_ones(text):
    unit = 2**-23
    printable = unit / 1e-12
    assert rf"$2^{{-23}} / 10^{{-12}} \approx {tex(printable)}$ printable values" in text
    counts = {n: len({f"{c / n * unit:.12f}" for c in range(n + 1)}) for n in (32, 10_000)}
    assert f"printable values and {counts[32]} counts, a share of {100 * counts[32] / printable:.2f} %:" in text
    (c,) = (c for c in range(33) if f"{c / 32 * unit:.4e}" == "5.2154e-08")
    assert f"the first number, 5.2154e-08, is one of them ($c = {c}$)" in text
    share = 100 * counts[10_000] / printable
    assert f"After 10,000 images there are {counts[10_000]:,} counts, a share of {share:.0f} %" in text


@of("a3_q4_alexnet_features-flips")
def test_thirty_two_answers_stand_for_a_thousand_changed_ones(text):
    changed = optimize.brentq(
        lambda k: 2 * np.std(np.random.default_rng(0).binomial(int(k), 0.5, 20_000)) - 32, 1, 5000
    )
    assert (
        rf"A difference of 32 is typical of $K \approx 32^2 \approx {tex(round(changed, -2))}$, one image in ten"
        in text
    )
    assert round(10_000 / changed) == 10
    assert r"standard deviation $\sqrt K$" in text
    assert "adds $+1$ or $-1$ with equal probability, so the sum has mean 0" in text


# HW3: vanishing gradients, regularisation


def first_step(optimizer, gradient: float, **how) -> float:
    w = nn.Parameter(torch.zeros(1, dtype=torch.float64))
    w.grad = torch.full_like(w, gradient)
    optimizer([w], **how).step()
    return abs(w.item())


@of("hw3_q1_vanishing_gradients-step")
def test_vanished_gradient_moves_few_weights_with_adam_and_none_with_descent(text):
    adam = first_step(torch.optim.Adam, 5e-17, lr=1e-3, eps=1e-8)
    assert rf"$10^{{-3}} \cdot 5 \cdot 10^{{-17}} / 10^{{-8}} = {power(adam)}$" in text
    layer = DeepNetwork(Setting("sigmoid")).linear[0]
    rng = np.random.default_rng(0)
    edge = 1 / math.sqrt(3072)
    w = rng.uniform(0, edge, 1_000_000).astype(np.float32)
    halves = np.spacing(w).astype(float) / 2 / w
    assert 2.0**-25 * 0.999 < halves.min() and halves.max() < 2.0**-24 * 1.001
    assert r"lies between $|w| / 2^{25}$ and $|w| / 2^{24}$" in text
    moved = (w - np.float32(adam)) != w
    reach = adam * 2**24
    assert rf"${power(adam)} \cdot 2^{{24}} = {power(reach)}$ and twice as much" in text
    assert reach < w[moved].max() < 2 * reach
    assert rf"a range to $1/\sqrt{{3072}} = {edge:.3f}$: half a per cent to one" in text
    assert round(100 * reach / edge, 1) == 0.5 and 0.5 < 100 * moved.mean() < 1 and round(200 * reach / edge) == 1
    plain = first_step(torch.optim.SGD, 5e-17, lr=0.01)
    assert f"Plain descent takes a step of ${power(plain)}$, which moves weights below" in text
    limit = 10.0 ** int(re.search(r"moves weights below \$10\^\{(-\d+)\}\$", text)[1])
    assert plain * 2**24 < limit < plain * 2**25
    assert "one in two thousand million, of which" in text and round(edge / limit / 1e9) == 2
    assert f"of which the layer has {layer.weight.numel() / 1e6:.1f} million" in text


@of("hw3_q1_vanishing_gradients-questions")
def test_ten_questions_about_each_image_make_80_percent_of_nothing(text):
    truth, guess = np.divmod(np.arange(100), 10)
    one_hot = np.eye(10)
    right = (one_hot[truth] == one_hot[guess]).mean(1)
    good, bad = right[truth == guess].mean(), right[truth != guess].mean()
    assert good == 1 and f"So it is $A + {bad:.1f}\\,(1 - A)$, {100 * bad:.0f} % plus a fifth of $A$." in text
    assert_allclose(good - bad, 1 / 5)
    accuracy = {s: 100 * optimize.brentq(lambda a, s=s: a + bad * (1 - a) - s, -1, 1) for s in (0.88, 0.80)}
    assert f"88 % belongs to $A = {accuracy[0.88]:.0f}$ %, and 80 % to $A = {abs(accuracy[0.80]):.0f}$:" in text
    assert f"worse than guessing, which gives {100 * right.mean():.0f} %." in text
    assert f"only as a rounding of {100 * right.mean():.0f} % or a little more" in text
    assert f"By (a) 88 % is possible for a network that has learned something, and {100 * bad:.0f} % only as" in text
    silent = (one_hot[truth] == 0).mean()
    assert f"has nine of ten right: {100 * silent:.0f} %." in text
    assert_allclose([good - silent, bad - silent], [0.1, -0.1])
    assert f"knowing nothing gives {100 * bad:.0f} or {100 * silent:.0f} % should" in text


@of("hw3_q1_vanishing_gradients-norm")
def test_norm_hides_eight_layers_of_fading(text):
    wide, extra = np.ones((3072, 512)), np.ones((16, 16))
    ratio = np.linalg.norm(wide) / np.linalg.norm(extra)
    assert rf"$\sqrt{{3072 \cdot 512 / 256}} = \sqrt{{{wide.size // extra.size}}} = {ratio:.0f}$" in text
    layers = optimize.brentq(lambda n: (1 / math.sqrt(3)) ** n * ratio - 1, 0, 50)
    assert r"With a factor of $1/\sqrt3$ a layer" in text
    assert (
        rf"have fallen by {ratio:.0f} after $\ln {ratio:.0f} / \ln \sqrt3 = {layers:.1f}$ layers: nearly eight"
        in text
    )


@of("hw3_q2_regularisation-lambda")
def test_one_lambda_is_two_strengths(text):
    torch.manual_seed(0)
    widths = (1024, 512, 256, 128, 64, 16, 10)
    weights = [nn.Linear(a, b).weight.detach() for a, b in zip(widths, widths[1:], strict=False)]
    a = stats.uniform(-1, 2)
    means = [a.expect(abs), a.expect(np.square)]
    assert_allclose(means, [1 / 2, 1 / 3])
    assert r"$\overline{|w|} = a/2$ and $\overline{w^2} = a^2/3$" in text
    l1 = [means[0] * w.numel() / math.sqrt(w.shape[1]) for w in weights]
    l2 = sum(means[1] * w.numel() / w.shape[1] for w in weights)
    assert_allclose(sum(w.abs().sum() for w in weights), sum(l1), rtol=0.01)
    assert_allclose(sum(w.square().sum() for w in weights), l2, rtol=0.01)
    assert r"\tfrac12\, n_\text{out} \sqrt{n_\text{in}}" in text and r"\tfrac13\, n_\text{out}" in text
    outputs = sum(w.shape[0] for w in weights)
    assert r"with $a = 1/\sqrt{n_\text{in}}$ adds" in text and r"\sum w^2 \approx" in text
    assert r"With $\lambda = 0.001$ the penalties" in text
    parts = " + ".join(f"{p:.0f}" for p in l1)
    assert rf"${parts} \approx {tex(sum(l1))}$ and ${outputs}/3 \approx {l2:.0f}$" in text
    nothing = F.cross_entropy(torch.zeros(1, 10), torch.tensor([3])).item()
    assert f"the penalties are {sum(l1) / 1000:.1f} and {l2 / 1000:.2f};" in text
    assert rf"the cross-entropy is $\ln 10 \approx {nothing:.1f}$" in text
    assert round(nothing / (l2 / 1000)) == 7 and "L2 is a seventh of the cross-entropy" in text
    w = double(0.3)
    (0.001 * w.square().sum()).backward()
    assert_allclose(w.grad, 2 * 0.001 * 0.3)
    assert r"its pull, $2\lambda w$," in text


@of("hw3_q2_regularisation-decimals")
def test_two_decimals_give_away_178_images(text):
    printed = ("94.94", "97.19", "74.72")
    assert r"nearest $k$ to $n \cdot 0.9494$ and see whether $100\,k/n$ rounds to 94.94;" in text

    def images(share: str, n: int) -> int | None:
        return next((k for k in range(n + 1) if f"{100 * k / n:.2f}" == share), None)

    n = next(n for n in range(1, 400) if images(printed[0], n) is not None)
    assert f"{printed[0]} alone is possible from ${images(printed[0], n)}/{n}$ on." in text
    n = next(n for n in range(1, 400) if None not in [images(s, n) for s in printed])
    found = [images(s, n) for s in printed]
    counts = "${}$, ${}$ and ${}$ images".format(*found)
    assert f"All three together are possible for $n = {n}$ ({counts}), and for none below it." in text
    assert f"Multiples of {n} fit as well" in text
    assert [images(s, 2 * n) for s in printed] == [2 * k for k in found]
    assert "closer together than 0.01 %" in text and all(images(s, 10_001) is not None for s in printed)


@of("hw3_q2_regularisation-power")
def test_images_needed_are_in_proportion_to_the_disagreement(text):
    alpha, beta = round(stats.norm.ppf(0.975), 2), round(stats.norm.ppf(0.8), 2)
    constant = (alpha + beta) ** 2
    assert f"It is found when it exceeds {alpha:.2f} standard errors" in text
    assert f"if the true difference is ${alpha:.2f} + {beta:.2f}$ of them" in text
    assert rf"\delta = ({alpha:.2f} + {beta:.2f}) \sqrt{{d/n}}" in text
    assert rf"n = {constant:.2f}\, d / \delta^2 ." in text
    d, delta = 0.1, 0.02
    n = round(constant * d / delta**2)
    shares = [(d + delta) / 2, (d - delta) / 2, 1 - d]
    assert "$+1$ if only the first network is right, $-1$ if only the second is, and $0$ otherwise" in text
    first, second, _ = np.random.default_rng(0).multinomial(n, shares, 40_000).T
    assert_allclose(np.std(first - second) / n, math.sqrt(d / n), rtol=0.03)
    assert r"standard error $\sqrt{d/n}$" in text and r"variance is $d - \delta^2 \approx d$" in text
    found = np.mean(first - second > alpha * math.sqrt(d * n))
    assert f"with a probability of {round(100 * found, -1):.0f} %" in text


# NNDL: dynamic blocks, training, mixing weights


@of("nndl_t1_dynamic_blocks-count")
def test_parameters_are_a_straight_line_in_k(text):
    p = {k: size(DynamicNet(width=4, k=k)) for k in (2, 4, 8)}
    times = (p[8] - p[2]) / (p[4] - p[2])
    assert f"$P(8) = P(2) + {times:.0f}\\,(P(4) - P(2))$, to the last digit" in text and times == 3
    assert r"$P(k) = P_0 + k\,P_1$ is a straight line" in text
    inputs, outputs = 5, 7
    each = [size(DynamicConv2d(inputs, outputs, k)) for k in (1, 2)]
    assert each[1] - each[0] == 9 * inputs * outputs + outputs + (inputs + 1)
    assert r"$k$ kernels of $9\,C_\text{in} C_\text{out}$ weights and $k$ vectors of $C_\text{out}$ biases" in text
    assert r"predicts $k$ numbers has $k\,(C_\text{in} + 1)$" in text


@of("nndl_t1_dynamic_blocks-side")
def test_kernels_are_the_smaller_side_in_one_block_of_eleven(text):
    sides = [32 // 2 ** sum(p < block for p in POOLED) for block in range(1, 12)]

    def wins(channels: int, side: int) -> bool:
        return DynamicConv2d(1, channels, 3).cheapest(side, side) == "kernels"

    first, second, third, fourth = (max(c for c in range(1, 400) if wins(c, s)) for s in (32, 16, 8, 4))
    assert r"kernels win while $9\,C_\text{out} \le k H W$" in text
    assert (
        rf"$C_\text{{out}} \le {first}$ in block 1, which has {64 * WIDTH_FACTORS[0]}, but only {second} in blocks"
        in text
    )
    assert f"but only {second} in blocks 2 to 4, which have {64 * WIDTH_FACTORS[1]}" in text
    assert f"{third} in blocks 5 to 7 and {fourth} in the last four" in text
    passing = {
        w: [i for i, (s, f) in enumerate(zip(sides, WIDTH_FACTORS, strict=True), 1) if wins(w * f, s)]
        for w in (64, 8)
    }
    assert passing[64] == [1] and "in one block of eleven" in text
    assert passing[8] == [1, 2, 3, 4]
    assert "at a first width of 8 and the same $k$, blocks" in text
    assert f"blocks 1 to 4 ({8 * WIDTH_FACTORS[0]} to {8 * WIDTH_FACTORS[3]} channels) pass" in text


@of("nndl_t1_dynamic_blocks-bright")
def test_twice_as_bright_runs_away_behind_block_7(text):
    torch.manual_seed(0)
    net = DynamicNet(width=2, k=3, norm=False, shortcut="none", mixing="linear", init="kaiming").double()
    x = torch.rand(1, 3, 32, 32, dtype=torch.float64)
    factors, twice = [], 2 * x
    for block in net.blocks[:7]:
        nn.init.zeros_(block.conv.mixer.bias)
        x, twice = block(x), block(twice)
        scale = x.abs().mean()
        factors.append(math.log2((twice.abs().mean() / scale).item()))
        # the ratio is kept and the size brought back, or it would end at nothing
        x, twice = x / scale, twice / scale
    assert_allclose(factors, [2**n for n in range(1, 8)], rtol=1e-6)
    behind = next(n for n, f in enumerate(factors, 1) if f > math.log2(torch.finfo(torch.float32).max) - 1e-5)
    assert r"a block turns $s$ into $s^2$, and $n$ blocks turn it into $s^{2^n}$" in text
    assert f"For $s = 2$ that is $2^{{{factors[-1]:.0f}}}$ behind block {behind}." in text
    left = {k: np.random.default_rng(k).normal(size=(200_000, k)).mean(1).var() ** 11 for k in (3, 4)}
    assert_allclose(list(left.values()), [3.0**-11, 4.0**-11], rtol=0.1)
    values = [rf"$k$ = {k} about ${power(float(k) ** -11)}$" for k in (3, 4)]
    assert f"$k^{{-11}}$ in all, for {values[0]} and for {values[1]}." in text


@of("nndl_t4_training-floor")
def test_second_softmax_puts_a_floor_under_the_loss(text):
    def loss(z: torch.Tensor) -> float:
        return F.cross_entropy(z.softmax(1), torch.zeros(len(z), dtype=torch.long)).item()

    torch.manual_seed(0)
    least, start = {}, {}
    for k in (2, 10, 1000):
        z = torch.zeros(1, k, dtype=torch.float64)
        start[k] = loss(z)
        z[0, 0] = 60
        least[k] = loss(z)
        others = [
            loss(r * torch.randn(1, k, dtype=torch.float64) + z / 10) for r in (0.1, 1, 3, 10) for _ in range(50)
        ]
        assert min(others) > least[k] - 1e-12
        assert_allclose(least[k], math.log(math.e + k - 1) - 1)
        assert_allclose(start[k], math.log(k))
    assert r"zeros elsewhere that is $\ln(e + K - 1) - 1$" in text
    q, k = 0.6, 10
    even = torch.full((1, k), (1 - q) / (k - 1), dtype=torch.float64)
    even[0, 0] = q
    assert_allclose(F.cross_entropy(even, torch.tensor([0])), math.log(1 + (k - 1) * math.exp((1 - q) / (k - 1) - q)))
    assert r"$\ln\big(1 + (K-1)\,e^{(1 - q_c)/(K-1) - q_c}\big)$" in text
    assert (
        f"For 2 classes it is {least[2]:.2f}, for 10 it is {least[10]:.2f}, for 1,000 it is {least[1000]:.2f}."
        in text
    )
    assert rf"the loss is $\ln K$: {start[2]:.2f}, {start[10]:.2f}, {start[1000]:.2f}." in text
    assert f"lies between {start[10]:.2f} and {least[10]:.2f}." in text
    assert f"does not go below {least[10]:.2f} gives the second softmax away" in text
    assert "the report's 0.1004 shows" in text and least[10] > 0.1004


@of("nndl_t4_training-decay")
def test_adam_pulls_two_thousand_times_harder_than_sgd(text):
    def lost(optimizer, start: float) -> float:
        w = nn.Parameter(torch.tensor([start], dtype=torch.float64))
        steps = optimizer([w], lr=0.001, weight_decay=0.0005)
        for _ in range(100):
            w.grad = torch.zeros_like(w)
            steps.step()
        return start - w.item()

    sgd, adam, adamw = (lost(o, 1.0) for o in (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW))
    assert r"by $1 - 0.001 \cdot 0.0005$ in each step" in text
    assert f"after 100 steps it has lost ${power(sgd)}$" in text
    assert_allclose(adamw, sgd, rtol=1e-6)
    assert f"100 steps of 0.001 take {adam:.1f} away, a little less as $w$ falls" in text and adam < 0.1
    assert rf"The factor is about $1/(\lambda w) = {tex(round(adam / sgd, -3))}$" in text
    assert_allclose(1 / 0.0005, 2000)
    small = [lost(o, 0.1) for o in (torch.optim.SGD, torch.optim.Adam)]
    assert 0.7 < small[1] / 0.1 < 0.8 and "For a weight of 0.1 Adam takes nearly four fifths of it away" in text
    assert_allclose(small[0], sgd / 10, rtol=1e-3)
    assert "SGD a tenth of what it took before" in text
    assert round((small[1] / small[0]) / (adam / sgd)) == 8 and "the factor is about eight times as large" in text


@of("nndl_t4_training-same")
def test_two_epochs_on_one_test_set_differ_less_by_chance(text):
    n, p, q = 10_000, 0.84, 0.1
    rng = np.random.default_rng(0)
    up, down, _ = rng.multinomial(n, [q / 2, q / 2, 1 - q], 100_000).T
    one = math.sqrt(q / n)
    assert_allclose(np.std(up - down) / n, one, rtol=0.02)
    assert rf"$\sqrt{{q/n}}$: with $q = {q}$ and $n = {tex(n)}$ it is {100 * one:.2f} points" in text
    two = math.sqrt(2) * error(p, n)
    assert rf"$\sqrt{{2 p (1-p) / n}}$, which is {two:.2f} points for $p = {p}$;" in text
    equal = optimize.brentq(lambda q: 100 * math.sqrt(q / n) - two, 0.01, 1)
    assert f"this takes $q = 2p(1-p) = {equal:.2f}$, as if" in text


@of("nndl_t6_mixing_weights-width")
def test_fair_opponent_is_wider_by_the_root_of_k(text):
    def parameters(width: int, k: int, mixing: str) -> int:
        with torch.device("meta"):
            return size(DynamicNet(width=width, k=k, mixing=mixing, init="default"))

    found, bound = [], []
    for width, k in ((8, 4), (64, 3)):
        goal = parameters(width, k, "softmax")
        bound.append(round(math.sqrt(k) * width))
        found.append(min(range(width, 2 * width + 3), key=lambda w: abs(parameters(w, 1, "none") - goal)))
    assert rf"$w' \approx \sqrt k\,w$: {bound[0]} for a width of 8 with four kernels, and {bound[1]} for 64" in text
    assert f"Counted exactly it is {found[0]} and {found[1]}, since" in text

    def kernels(width: int) -> int:
        return sum(9 * a * b for a, b in zip(WIDTH_FACTORS, WIDTH_FACTORS[1:], strict=False)) * width**2

    assert_allclose(kernels(bound[0]) / kernels(8), 4)
    assert "about $k$ times the work" in text and r"the size goes as $k\,w^2$" in text


@of("nndl_t6_mixing_weights-bound")
def test_softmax_weights_are_dynamic_to_three_quarters_at_most(text):
    def share(p: np.ndarray) -> float:
        return p.var(0).sum() / (p**2).sum(1).mean()

    rng = np.random.default_rng(0)
    best = {}
    for k in (3, 4):
        best[k] = share(np.eye(k))
        tried = (share(rng.dirichlet(rng.uniform(0.01, 1, k), 50)) for _ in range(200))
        assert max(tried) < best[k] + 1e-12
        assert_allclose(best[k], 1 - 1 / k)
        p = rng.dirichlet(np.ones(k), 50)
        assert_allclose(share(p), 1 - (p.mean(0) ** 2).sum() / (p**2).sum(1).mean())
    assert r"The share is $1 - |\mathbb{E}p|^2 / \mathbb{E}|p|^2$." in text
    words = {0.75: "three quarters", 0.667: "two thirds"}
    four, three = (words[round(best[k], 3)] for k in (4, 3))
    assert f"at most $1 - 1/k$: {four} for four kernels, {three} for three" in text
    linear = np.array([[1.0, -2.0], [-1.0, 2.0]])
    assert f"all of their mean square depends on the image, {100 * share(linear):.0f} %." in text


@of("nndl_t6_mixing_weights-random")
def test_random_labels_explain_a_fifth_of_fifty_images(text):
    n, classes = 50, 10
    rng = np.random.default_rng(0)
    values, y = rng.normal(size=n), np.arange(n) % classes
    total = ((values - values.mean()) ** 2).sum()
    shares = []
    for _ in range(4000):
        values = rng.permutation(values)
        means = values[np.argsort(rng.permutation(y), kind="stable")].reshape(classes, -1).mean(1)
        shares.append(n / classes * ((means - values.mean()) ** 2).sum() / total)
    assert_allclose(np.mean(shares), (classes - 1) / (n - 1), rtol=0.03)
    assert "a share of $(C - 1)/(n - 1)$ of the variance on average" in text
    assert rf"it is ${classes - 1}/{n - 1} = {100 * np.mean(shares):.0f}\,\%$: nearly a fifth" in text
