"""The network that is trained fast: its first layer, its steps, its batches, and a recipe of all of them."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from cifar_utils.data.sets import Split
from cifar_utils.data.views import AlternatingBatches
from cifar_utils.errors import ParameterError
from cifar_utils.models.fast import FastNet, WhitenedPatches
from cifar_utils.train import Part, Recipe
from cifar_utils.train.muon import Muon, orthogonalise
from cifar_utils.train.training import train


def images(n: int = 40, seed: int = 0) -> Split:
    """Images whose columns tell left from right."""
    g = torch.Generator().manual_seed(seed)
    x = torch.randint(0, 256, (n, 3, 32, 32), generator=g, dtype=torch.uint8)
    return Split(x, torch.arange(n) % 10)


def test_whitened_patches_have_no_correlation_and_come_with_both_signs():
    x = torch.nn.functional.avg_pool2d(torch.randn(50, 3, 64, 64, generator=torch.Generator().manual_seed(0)), 2)
    layer = WhitenedPatches(bias=False)
    layer.fit_to(x, epsilon=0.0)
    out = layer(x)
    flat = out[:, :12].transpose(0, 1).flatten(1).double()
    assert torch.allclose(flat @ flat.T / flat.shape[1], torch.eye(12, dtype=torch.float64), atol=1e-3)
    assert torch.equal(out[:, 12:], -out[:, :12])
    assert not list(layer.parameters())


@pytest.mark.parametrize("shape", [(20, 50), (50, 20), (30, 30)])
def test_a_step_is_as_long_along_every_direction(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
    found = orthogonalise(matrix, rounds=5)
    lengths = torch.diagonal(u.T @ found @ vh.T)
    assert lengths.min() > 0.5 and lengths.max() < 1.3  # s went from 0.1 to 10
    assert (u.T @ found @ vh.T - torch.diag(lengths)).abs().max() < 1e-4  # the directions are the matrix's own


def test_a_step_goes_down_the_gradient_in_filters_matrices_and_vectors():
    net = FastNet(10, (8, 8, 8))
    g = torch.Generator().manual_seed(0)
    optimizer = Muon(net.parameters(), lr=0.1, matrix_lr=2.0, bias_lr=3.0, momentum=0.6, other_momentum=0.85)
    assert {group["kind"] for group in optimizer.param_groups} == {"filters", "matrices", "vectors"}
    with torch.no_grad():
        for p in net.parameters():
            p.grad = torch.randn(p.shape, generator=g)
            if p.dim() == 4:  # so that no step is needed to the norm that is kept
                p.mul_(len(p) ** 0.5 / p.norm())
    before = [p.detach().clone() for p in net.parameters()]
    optimizer.step()
    for p, old in zip(net.parameters(), before, strict=True):
        moved = p.detach() - old
        assert (moved * p.grad).sum() < 0
        rate = {4: 0.1, 2: 2.0, 1: 3.0}[p.dim()]
        # Nesterov's momentum: 1 + 0.85 times in the first step; a filter's step is as long whatever its gradient is
        wanted = orthogonalise(p.grad.flatten(1)).view_as(p) if p.dim() == 4 else 1.85 * p.grad
        torch.testing.assert_close(moved, -rate * wanted, atol=1e-4, rtol=1e-4)


def test_filters_keep_their_norm_and_matrices_decay():
    net = FastNet(10, (8, 8, 8))
    optimizer = Muon(net.parameters(), lr=0.1, matrix_lr=1.0, bias_lr=1.0, weight_decay=0.5)
    filters = [p for p in net.parameters() if p.dim() == 4]
    head = next(p for p in net.parameters() if p.dim() == 2)
    before = head.detach().clone()
    for p in net.parameters():
        p.grad = torch.zeros_like(p)
    optimizer.step()
    for p in filters:
        assert p.norm().item() == pytest.approx(len(p) ** 0.5, rel=1e-4)
    # decay passes through Nesterov's momentum: 1 + 0.85 times in the first step
    assert torch.allclose(head, before * (1 - 0.5 * 1.85), atol=1e-5)


def test_convolutions_begin_as_the_identity():
    net = FastNet(10, (30, 40, 50))
    first = net[2][0]
    x = torch.randn(2, 24, 8, 8)
    assert torch.equal(first(x)[:, :24], x)


def test_two_passes_show_each_image_once_from_each_side():
    split = images()
    batches = AlternatingBatches(split, 20, shift=0, seed=3)
    seen = [{}, {}]
    mirrors = {x.sub(0).flatten().tolist().__str__(): i for i, x in enumerate(split.x)}
    for views in seen:
        for x, _ in batches:
            for image in (x * 255).round().to(torch.uint8):
                plain = str(image.flatten().tolist())
                flipped = str(image.flip(-1).flatten().tolist())
                views[mirrors[plain] if plain in mirrors else mirrors[flipped]] = plain in mirrors
    assert len(seen[0]) == len(seen[1]) == 40
    assert all(seen[0][i] != seen[1][i] for i in range(40))
    assert 5 < sum(seen[0].values()) < 35


@pytest.mark.parametrize("shift", [0, 2])
def test_images_move_by_every_shift_alike_and_what_comes_in_is_the_mirrored_border(shift):
    x = torch.zeros(1000, 3, 32, 32, dtype=torch.uint8)
    x[:, 0], x[:, 1] = torch.arange(32), torch.arange(32)[:, None]  # a pixel says its column and its row
    batches = AlternatingBatches(Split(x, torch.zeros(1000, dtype=torch.int64)), 1000, shift=shift, seed=0)
    [(shown, _)] = list(batches)
    shown = (shown * 255).round().long()
    seen = Counter()
    for columns, rows in zip(shown[:, 0, 16], shown[:, 1, :, 16], strict=True):
        columns = columns if columns[5] < columns[6] else columns.flip(0)
        places = int(columns[16]) - 16, int(rows[16]) - 16
        for line, k in zip((columns, rows), places, strict=True):
            assert line.tolist() == [abs(i) if i < 32 else 62 - i for i in range(k, 32 + k)]
        seen[places] += 1
    every = range(-shift, shift + 1)
    assert set(seen) == {(across, down) for across in every for down in every}
    # five standard deviations
    assert all(abs(count - 1000 / len(seen)) <= 5 * (1000 / len(seen)) ** 0.5 for count in seen.values())


def test_first_passes_are_smaller_and_a_restored_one_goes_on():
    batches = AlternatingBatches(images(), 20, sides=(20, 24), seed=1)
    sizes = [next(iter(batches))[0].shape[-1] for _ in range(3)]
    assert sizes == [20, 24, 32]
    state = batches.state()
    following = [x.clone() for x, _ in batches]
    again = AlternatingBatches(images(), 20, sides=(20, 24), seed=99)
    again._mirrored = batches._mirrored  # drawn from the seed, which a resumed training has, too
    again.restore(state)
    assert all(torch.equal(a, b) for a, b in zip(following, (x for x, _ in again), strict=True))


def sides_seen(flips: str, passes: int = 2) -> torch.Tensor:
    """Return whether each pass showed each image mirrored, bool (passes, N): left and right halves are 0 and 200."""
    x = torch.zeros(400, 3, 32, 32, dtype=torch.uint8)
    x[..., 16:] = 200
    x[:, 0, 0, :] = (torch.arange(400) % 256).to(torch.uint8)[:, None]
    x[:, 1, 0, :] = (torch.arange(400) // 256).to(torch.uint8)[:, None]
    batches = AlternatingBatches(Split(x, torch.zeros(400, dtype=torch.int64)), 100, shift=0, flips=flips, seed=5)
    seen = torch.zeros(passes, 400, dtype=torch.bool)
    for each in seen:
        for shown, _ in batches:
            pixels = (shown * 255).round().long()
            each[pixels[:, 0, 0, 0] + 256 * pixels[:, 1, 0, 0]] = pixels[:, 0, 5, 0] == 200
    return seen


def test_a_new_coin_every_pass_shows_half_of_the_images_from_the_same_side_twice():
    first, second = sides_seen("random")
    assert 0.4 < (first == second).float().mean() < 0.6 and 0.4 < first.float().mean() < 0.6
    first, second = sides_seen("alternating")
    assert not (first == second).any()
    assert not sides_seen("none").any()


def test_flips_of_another_kind_are_refused():
    with pytest.raises(ParameterError, match="flips is 'often'; expected one of alternating, random, none"):
        AlternatingBatches(images(), 10, flips="often")


def test_scores_begin_small_only_where_they_are_divided():
    torch.manual_seed(0)
    divided, plain = FastNet(10, (8, 8, 8)), FastNet(10, (8, 8, 8), divide=None)
    assert divided[-1].weight.std().item() == pytest.approx(1, rel=1e-5) and divided.divide == 256
    assert (
        plain[-1].weight.abs().max() <= 8**-0.5 and plain.divide == 1
    )  # PyTorch's own: uniform up to 1/sqrt(inputs)


@pytest.mark.parametrize("sides", [(16,), (33,)])
def test_a_side_that_no_image_has_is_refused(sides):
    with pytest.raises(ParameterError, match="expected pixels from 17 to the images' 32"):
        AlternatingBatches(images(), 10, sides=sides)


def test_a_network_without_widths_is_refused():
    with pytest.raises(ParameterError, match="expected one number of 1 or more"):
        FastNet(10, ())


RECIPE = Recipe(
    "cifar10",
    Part("fast", widths=(8, 16, 16)),
    Part("Muon", matrix_lr=40.0, bias_lr=3.0),
    batch=50,
    epochs=3,
    images=100,
    validation=50,
    prepare="channels",
    draw=Part("alternating", sides=(20,)),
    loss=Part("cross-entropy", smoothing=0.2),
    schedule=Part("linear", rise=0.2, start=0.2, end=0.1),
    start="whitened patches",
    evaluate=("val",),
    final=("val",),
    sample=True,
)


def test_a_recipe_of_these_parts_trains_and_the_same_seed_trains_alike():
    whole = train(RECIPE, 0, torch.device("cpu"))
    assert whole.history.epochs == 3
    assert whole.history.lr[0] == pytest.approx(0.24 * (1 - 0.9 * (2 - 1.2) / (6 - 1.2)), rel=1e-5)
    assert whole.model[0].weight.abs().sum() > 0
    assert whole.history.train_loss[-1] < whole.history.train_loss[0]

    again = train(RECIPE, 0, torch.device("cpu"))
    assert again.history.train_loss == whole.history.train_loss


def test_whitening_wants_a_network_that_begins_with_it():
    with pytest.raises(ParameterError, match="first layer is WhitenedPatches"):
        train(RECIPE.but(model=Part("fast", whiten=False)), 0, torch.device("cpu"))
