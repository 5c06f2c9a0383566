from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from cifar_utils.data.batches import training_batches
from cifar_utils.data.sets import Split, channel_stats, load
from cifar_utils.errors import DataError, ParameterError
from cifar_utils.models.encoder import Encoder
from cifar_utils.train import SGD, Adam, Part, Recipe, triplets
from cifar_utils.train.loop import evaluate, fit, seed_everything
from cifar_utils.train.training import train
from cifar_utils.train.triplets import FixedTriplets, TripletBatches, TripletIndex, TripletNetwork


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("norm", [1.0, 1.5, 2.0, 3.0, torch.inf])
@pytest.mark.parametrize("margin", [0.2, 1.0])
def test_triplet_loss_is_pytorchs_with_its_gradients(norm, margin):
    parts = [random(32, 7, seed=s).requires_grad_() for s in range(3)]
    ours = triplets.triplet_margin_loss(*parts, margin, norm)
    theirs = nn.TripletMarginLoss(margin, norm)(*parts)
    assert 0 < ours.item() and torch.allclose(ours, theirs, rtol=1e-12)
    for a, b in zip(torch.autograd.grad(ours, parts), torch.autograd.grad(theirs, parts), strict=True):
        assert torch.allclose(a, b, rtol=1e-9, atol=1e-12)


def test_a_distance_of_zero_has_a_finite_gradient():
    z = torch.zeros(2, 3, requires_grad=True)
    triplets.distance(z, z.detach()).sum().backward()
    assert torch.isfinite(z.grad).all()


@pytest.mark.parametrize("norm", [0, -1.0, float("nan")])
def test_distance_refuses_what_is_no_norm(norm):
    with pytest.raises(ParameterError, match="expected a positive p"):
        triplets.distance(torch.zeros(1, 2), torch.zeros(1, 2), norm)


def test_positives_and_negatives_are_of_the_right_class_and_equally_likely():
    labels = torch.tensor([2, 0, 2, 0, 2, 5, 0, 2, 5])  # unequal classes, one number unused
    index, g = TripletIndex(labels), torch.Generator().manual_seed(0)
    draws = 20_000
    for anchor in range(len(labels)):
        positive, negative = index.draw(torch.full((draws,), anchor), g)
        for found, allowed in (
            (positive, [i for i in range(9) if labels[i] == labels[anchor] and i != anchor]),
            (negative, [i for i in range(9) if labels[i] != labels[anchor]]),
        ):
            counts = torch.bincount(found, minlength=9)
            assert counts.nonzero().flatten().tolist() == allowed
            expected = draws / len(allowed)
            chi2 = ((counts[allowed] - expected) ** 2 / expected).sum().item()
            assert chi2 < 30  # 7 degrees of freedom at most: p = 1e-4


def test_a_class_with_one_image_and_one_class_only_are_refused():
    with pytest.raises(DataError, match="Class 1 has one image"):
        TripletIndex(torch.tensor([0, 0, 1]))
    with pytest.raises(DataError, match="one class"):
        TripletIndex(torch.tensor([3, 3, 3]))


@pytest.fixture(scope="module")
def shapes():
    return load("cifar10", data="sample", train_images=200)


def images_of(split: Split, like, x):
    """Return the index in `split` of every normalised image of `x`."""
    plain = type(like).for_evaluation(split, like, 1000) if isinstance(like, TripletBatches) else like
    known, _ = plain.batch(torch.arange(len(split)))
    return torch.cdist(x.flatten(1), known.flatten(1)).argmin(1)


def test_an_epoch_of_triplets_has_each_image_as_the_anchor_once(shapes):
    batches = TripletBatches(shapes.train, 64, seed=1)
    anchors = []
    plain = training_batches(shapes.train, 200)
    known, labels = plain.batch(torch.arange(200))
    shift = TripletBatches(shapes.train, 64)  # no statistics: scaled to 0..1 only
    known = shift.batch(torch.arange(200))[0].flatten(1)
    for x, y in batches:
        assert (y == 1).all() and len(x) == 3 * len(y)
        index = torch.cdist(x.flatten(1), known).argmin(1)
        a, p, n = labels[index].chunk(3)
        assert (a == p).all() and (a != n).all()
        assert (index.chunk(3)[0] != index.chunk(3)[1]).all()
        anchors.append(index[: len(y)])
    assert torch.cat(anchors).sort().values.tolist() == list(range(200))


def test_triplets_continue_from_a_saved_state_and_crop_and_flip(shapes):
    make = lambda: TripletBatches(shapes.train, 50, crop=4, flip=True, seed=3)  # noqa: E731
    first, second = make(), make()
    list(first)
    state = first.state()
    expected = next(iter(first))[0]
    second.restore(state)
    assert torch.equal(next(iter(second))[0], expected)
    assert not torch.equal(next(iter(make()))[0], expected)


def test_triplets_are_cropped_and_mirrored(shapes):
    first = lambda **options: next(iter(TripletBatches(shapes.train, 50, seed=3, **options)))[0]  # noqa: E731
    plain = first()
    padded = F.pad(plain, [4] * 4)
    windows = [padded[..., i : i + 32, j : j + 32] for i in range(9) for j in range(9)]
    places = torch.stack([(window == first(crop=4)).flatten(1).all(1) for window in windows])
    assert places.any(0).all()  # each shows a window of its own image
    assert places.any(1).sum() > 50  # and with 150 images most of the 81 places occur
    flipped = first(flip=True)
    as_it_is, mirrored = ((flipped == each).flatten(1).all(1) for each in (plain, plain.flip(3)))
    assert (as_it_is | mirrored).all() and 0.3 < mirrored.float().mean() < 0.7


def test_fixed_triplets_are_the_same_in_every_pass(shapes):
    fixed = FixedTriplets(shapes.val, training_batches(shapes.train, 10), 150, seed=2)
    one, two = (torch.cat([x[: len(y)] for x, y in fixed]) for _ in range(2))
    assert torch.equal(one, two) and len(one) == len(shapes.val)
    other = FixedTriplets(shapes.val, training_batches(shapes.train, 10), 150, seed=3)
    assert not torch.equal(other.chosen, fixed.chosen)


class Colours(nn.Module):
    """Average colour: an encoder of next to no cost."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 4)

    def forward(self, x):
        return self.linear(x.mean((2, 3)))


def test_fit_trains_a_triplet_network_and_accuracy_is_the_share_in_right_order(shapes):
    torch.manual_seed(0)
    model = TripletNetwork(Colours())
    batches = TripletBatches(shapes.train, 50)
    fixed = FixedTriplets(shapes.train, batches)
    loss = triplets.triplet_loss(0.2)
    before = evaluate(model, fixed, loss)
    a, p, n = model.encoder(next(iter(fixed))[0]).chunk(3)
    right = (F.pairwise_distance(a, p) < F.pairwise_distance(a, n)).double().mean().item()
    assert before[1] == pytest.approx(right)
    assert before[0] == pytest.approx(nn.TripletMarginLoss(0.2)(a, p, n).item(), rel=1e-5)
    history = fit(model, batches, torch.optim.Adam(model.parameters(), 0.01), epochs=5, loss=loss)
    assert evaluate(model, fixed, loss)[0] < before[0] and history.iterations == 20


def test_a_collapsed_encoder_orders_no_triplet(shapes):
    model = TripletNetwork(Colours())
    nn.init.zeros_(model.encoder.linear.weight)
    loss, accuracy = evaluate(
        model, FixedTriplets(shapes.val, training_batches(shapes.train, 10)), triplets.triplet_loss()
    )
    assert accuracy == 0 and loss == pytest.approx(1.0)


def by_hand(z, y, margin, choose):
    """Return the mean hinge over what `choose(d, i)` gives for each anchor i: pairs of distances."""
    d = torch.cdist(z, z)
    gaps = [pair for i in range(len(y)) for pair in choose(d[i], y == y[i], i)]
    return torch.stack([(p - n + margin).clamp(min=0) for p, n in gaps]).mean()


def hardest(d, same, i):
    positive = [j for j in range(len(d)) if same[j] and j != i]
    return [(d[positive].max(), d[~same].min())] if positive and (~same).any() else []


def semi_hard(d, same, i):
    pairs = []
    for j in (j for j in range(len(d)) if same[j] and j != i):
        farther = d[~same][d[~same] > d[j]]
        pairs.append((d[j], farther.min() if len(farther) else d[~same].max()))
    return pairs


@pytest.mark.parametrize("loss, choose", [(triplets.batch_hard_loss, hardest), (triplets.semi_hard_loss, semi_hard)])
def test_mined_losses_are_what_a_loop_over_anchors_gives(loss, choose):
    y = torch.tensor([0, 0, 0, 1, 1, 2, 1, 0, 2, 3])  # class 3 has no positive
    z = random(10, 3, seed=4).requires_grad_()
    ours, theirs = loss(z, y, 0.7), by_hand(z, y, 0.7, choose)
    assert torch.allclose(ours, theirs, rtol=1e-6)
    a, b = torch.autograd.grad(ours, z)[0], torch.autograd.grad(theirs, z)[0]
    assert torch.allclose(a, b, rtol=1e-4, atol=1e-6)


def test_supervised_contrastive_loss_is_what_a_loop_gives():
    y, z = torch.tensor([0, 1, 0, 1, 1, 2]), random(6, 4, seed=5)
    unit = F.normalize(z, dim=1)
    terms = []
    for i in range(5):  # the last one has no positive
        others = [j for j in range(6) if j != i]
        log_sum = torch.logsumexp(unit[others] @ unit[i] / 0.5, 0)
        terms.append(-torch.stack([unit[j] @ unit[i] / 0.5 - log_sum for j in others if y[j] == y[i]]).mean())
    assert torch.allclose(triplets.supervised_contrastive_loss(z, y, 0.5), torch.stack(terms).mean())
    with pytest.raises(ParameterError, match="temperature is 0"):
        triplets.supervised_contrastive_loss(z, y, 0)


@pytest.mark.parametrize(
    "loss", [triplets.batch_hard_loss, triplets.semi_hard_loss, triplets.supervised_contrastive_loss]
)
@pytest.mark.parametrize("labels", [[0, 1, 2], [0, 0, 0]])
def test_losses_of_a_batch_without_pairs_have_a_gradient(loss, labels):
    z = random(3, 4).requires_grad_()
    loss(z, torch.tensor(labels)).backward()
    assert torch.isfinite(z.grad).all()


def test_the_encoder_learns_triplets_of_shapes(shapes):
    torch.manual_seed(0)
    encoder = Encoder(width=4, dim=8)
    model, batches = TripletNetwork(encoder), TripletBatches(shapes.train, 50)
    history = fit(
        model, batches, torch.optim.Adam(model.parameters(), 3e-3), epochs=6, loss=triplets.triplet_loss(0.2)
    )
    assert history.train_loss[-1] < 0.8 * history.train_loss[0]


def test_a_recipe_of_triplets_is_the_loop_by_hand_and_is_measured_on_fixed_triplets(shapes):
    recipe = Recipe(
        "cifar10", Part("triplet network", width=2, dropout=0.0), Adam(1e-3), batch=40, iterations=6, images=200,
        prepare="channels", draw=Part("triplets", steps=3), loss=Part("triplet", margin=0.2), evaluate=("val:50",),
        final=("val:50",), sample=True, precision="float32",
    )  # fmt: skip
    found = train(recipe, 3, torch.device("cpu"))
    seed_everything(3)
    model = TripletNetwork(Encoder(2, dropout=0.0)).to(memory_format=torch.channels_last)
    given = {"stats": channel_stats(shapes.train), "channels_last": True}
    batches = TripletBatches(shapes.train, 40, steps=3, seed=3, **given)
    fixed, loss = FixedTriplets(shapes.val[:50], batches), triplets.triplet_loss(0.2)
    history = fit(
        model,
        batches,
        torch.optim.Adam(model.parameters(), 1e-3),
        iterations=6,
        loss=loss,
        evaluate_on={"val": fixed},
    )
    assert found.history.train_loss == pytest.approx(history.train_loss, rel=1e-4)
    assert found.history.evaluations["val"]["loss"] == pytest.approx(history.evaluations["val"]["loss"], rel=1e-4)
    assert found.final["val"]["loss"] == pytest.approx(evaluate(model, fixed, loss)[0], rel=1e-4)
    assert len(found.scores["val"]) == 50 and found.scores["val"].shape[1] == 2


def test_a_rate_of_zero_leaves_the_weights_of_the_seed_and_settles_batch_normalisation(shapes):
    recipe = Recipe(
        "cifar10", Part("triplet network", width=2), SGD(0.0), batch=20, iterations=3, images=200, prepare="channels",
        draw="triplets", loss="triplet", evaluate=(), final=("val:50",), sample=True,
    )  # fmt: skip
    untrained = train(recipe, 1, torch.device("cpu")).model
    seed_everything(1)
    fresh = Encoder(2)
    weights = dict(untrained.encoder.named_parameters())
    assert all(torch.equal(weights[name], value) for name, value in fresh.named_parameters())
    assert (
        untrained.encoder.body[1].num_batches_tracked == 3 and untrained.encoder.body[1].running_mean.abs().sum() > 0
    )
