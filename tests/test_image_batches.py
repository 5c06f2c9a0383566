from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torchvision.transforms import functional as TF

from cifar_utils.data.batches import Batches, edges, training_batches
from cifar_utils.data.sets import Split, channel_stats
from cifar_utils.errors import ParameterError
from cifar_utils.train.triplets import TripletBatches


@pytest.fixture
def numbered() -> Split:
    """Forty images whose every pixel is the image's number."""
    x = torch.arange(40, dtype=torch.uint8).view(-1, 1, 1, 1).expand(40, 3, 4, 4).contiguous()
    return Split(x, torch.arange(40) % 10)


def pixels(batches) -> torch.Tensor:
    """Return the first pixel of every example of one pass, which is its number in `numbered`."""
    return torch.cat([x[:, 0, 0, 0] for x, _ in batches]).mul(255).round().long()


@pytest.mark.parametrize("crop", [1, 2, 4])
@pytest.mark.parametrize("channels_last", [False, True])
def test_fixed_offsets_equal_torchvision_pixel_for_pixel(images, crop, channels_last):
    g = torch.Generator().manual_seed(0)
    index = torch.randint(len(images), (200,), generator=g)
    top, left = torch.randint(2 * crop + 1, (2, 200), generator=g)
    mirror = torch.rand(200, generator=g) < 0.5
    batches = Batches(images, 8, crop=crop, flip=True, channels_last=channels_last)
    x, y = batches.batch(index, top, left, mirror)
    height, width = images.x.shape[2:]
    for i in range(200):
        expected = TF.crop(TF.pad(images.x[index[i]], [crop] * 4), top[i], left[i], height, width)
        if mirror[i]:
            expected = TF.hflip(expected)
        assert torch.equal((x[i] * 255).round().byte(), expected)
    assert torch.equal(y, images.y[index]) and x.dtype == torch.float32


def test_every_offset_of_every_corner_is_right(images):
    batches = Batches(images, 8, crop=2)
    grid = torch.cartesian_prod(torch.tensor([0, len(images) - 1]), torch.arange(5), torch.arange(5))
    x, _ = batches.batch(*grid.T)
    padded = TF.pad(images.x, [2] * 4)
    for crop, (i, top, left) in zip(x, grid.tolist(), strict=True):
        assert torch.equal((crop * 255).round().byte(), padded[i, :, top : top + 12, left : left + 10])


def test_without_offsets_the_batch_is_the_image_itself(images):
    for crop in (0, 3):
        x, _ = Batches(images, 8, crop=crop).batch(torch.tensor([5, 2]))
        assert torch.equal((x * 255).round().byte(), images.x[[5, 2]])


def test_images_that_are_not_contiguous(images):
    turned = Split(images.x.permute(0, 1, 3, 2), images.y)
    x, _ = Batches(turned, 60, shuffle=False).batch(torch.arange(60))
    assert torch.equal((x * 255).round().byte(), turned.x)


def test_normalisation(images):
    mean, std = channel_stats(images)
    (x, _) = next(iter(Batches(images, 60, shuffle=False, stats=(mean, std))))
    expected = (images.x / 255 - mean.view(1, 3, 1, 1)) / std.view(1, 3, 1, 1)
    assert torch.allclose(x, expected, atol=1e-5)
    (plain, _) = next(iter(Batches(images, 60, shuffle=False)))
    assert torch.allclose(plain, images.x / 255, atol=1e-6)


def test_training_batches_use_the_splits_own_statistics(images):
    (x, _) = next(iter(training_batches(images, 60)))
    assert x.mean((0, 2, 3)).abs().max() < 1e-4
    assert (x.std((0, 2, 3), correction=0) - 1).abs().max() < 1e-4
    points = Split(torch.randn(10, 2), torch.zeros(10).long())
    assert torch.equal(next(iter(training_batches(points, 10, shuffle=False)))[0], points.x)


def test_evaluation_batches_are_in_order_and_normalised_alike(images):
    train = training_batches(images, 7, crop=2, flip=True, channels_last=True)
    found = Batches.for_evaluation(images, train, batch_size=25)
    assert [len(y) for _, y in found] == [25, 25, 10]
    x = torch.cat([x for x, _ in found])
    mean, std = channel_stats(images)
    assert torch.allclose(x, (images.x / 255 - mean.view(1, 3, 1, 1)) / std.view(1, 3, 1, 1), atol=1e-5)
    assert torch.equal(torch.cat([y for _, y in found]), images.y)
    assert next(iter(found))[0].is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(torch.cat([x for x, _ in found]), x)  # the same on every pass


@pytest.mark.parametrize("channels_last", [False, True])
def test_memory_format(images, channels_last):
    wanted = torch.channels_last if channels_last else torch.contiguous_format
    for options in ({}, {"crop": 2, "flip": True}):
        x, _ = next(iter(Batches(images, 8, channels_last=channels_last, **options)))
        assert x.is_contiguous(memory_format=wanted)


# ---- order and randomness --------------------------------------------------------------------


def test_an_epoch_visits_each_example_once_in_a_new_order(numbered):
    batches = Batches(numbered, 7)
    first, second = pixels(batches), pixels(batches)
    for order in (first, second):
        assert torch.equal(order.sort().values, torch.arange(40))
    assert not torch.equal(first, second) and not torch.equal(first, torch.arange(40))
    assert [len(y) for _, y in batches] == [7, 7, 7, 7, 7, 5] and len(batches) == 6


@pytest.mark.parametrize(
    ("count", "size", "expected"),
    [
        (40, 7, [7, 7, 7, 7, 7, 5]),
        (40, 8, [8] * 5),
        (40, 13, [13, 13, 14]),  # one would be left over
        (40, 39, [40]),
        (40, 3, [3] * 12 + [4]),
        (40, 38, [38, 2]),
        (3, 2, [3]),
        (40, 1, [1] * 40),
        (1, 7, [1]),  # nothing to join
    ],
)
def test_a_last_batch_of_one_joins_the_batch_before_it(numbered, count, size, expected):
    assert [b - a for a, b in pairwise(edges(count, size))] == expected
    batches = Batches(numbered[:count], size, crop=1, flip=True)
    assert [len(y) for _, y in batches] == expected and len(batches) == batches.steps == len(expected)
    assert [len(y) for _, y in Batches.for_evaluation(numbered[:count], batches, size)] == expected


@pytest.mark.parametrize("size", [7, 13])
def test_an_epoch_sees_every_example_once_in_the_generators_order(numbered, size):
    order = torch.randperm(40, generator=torch.Generator().manual_seed(3))
    assert torch.equal(pixels(Batches(numbered, size, seed=3)), order)


def test_full_batches_do_not_change_where_one_is_left_over(numbered):
    for options, sizes in (
        ({"drop_last": True}, [13] * 3),
        ({"replacement": True}, [13] * 4),
        ({"steps": 4}, [13] * 4),
    ):
        assert [len(y) for _, y in Batches(numbered, 13, **options)] == sizes


def test_batch_normalisation_trains_where_one_image_is_left_over(images):
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(360, 4), torch.nn.BatchNorm1d(4))
    for x, _ in Batches(images, 59):
        network(x)
    triplets = TripletBatches(images, 59)
    assert [len(y) for _, y in triplets] == [60] and len(triplets) == 1


def test_labels_stay_with_their_images(numbered):
    for options in ({}, {"replacement": True}, {"crop": 1, "flip": True}, {"steps": 20}):
        for x, y in Batches(numbered, 7, **options):
            assert torch.equal((x[:, 0, 2, 2] * 255).round().long() % 10, y)


def test_unshuffled_order(numbered):
    assert torch.equal(pixels(Batches(numbered, 7, shuffle=False)), torch.arange(40))


def test_drop_last(numbered):
    batches = Batches(numbered, 7, drop_last=True)
    assert [len(y) for _, y in batches] == [7] * 5 and len(batches) == 5
    assert len(Batches(numbered, 10, drop_last=True)) == 4
    assert len(Batches(numbered, 10)) == 4


def test_more_steps_than_a_pass(numbered):
    batches = Batches(numbered, 8, steps=12)  # 96 examples: two passes and 16 of a third
    order = pixels(batches)
    assert len(batches) == 12 and len(order) == 96
    assert torch.equal(order[:40].sort().values, torch.arange(40))
    assert torch.equal(order[40:80].sort().values, torch.arange(40))
    assert len(order[80:].unique()) == 16
    assert len(pixels(Batches(numbered, 8, steps=2))) == 16
    assert torch.equal(pixels(Batches(numbered, 40, steps=2, shuffle=False)), torch.arange(40).repeat(2))


def test_replacement_draws_from_the_whole_split(numbered):
    order = pixels(Batches(numbered, 7, replacement=True, steps=600))
    counts = torch.bincount(order, minlength=40)
    assert counts.sum() == 4200
    assert 60 < counts.min() and counts.max() < 160  # about 105 +- 10 each
    assert len(order[:40].unique()) < 40  # a pass repeats some and misses others
    assert [len(y) for _, y in Batches(numbered, 7, replacement=True)] == [7] * 6


def test_seeded_batches_repeat(images):
    def run(seed):
        batches = Batches(images, 7, crop=2, flip=True, seed=seed)
        return torch.cat([x for _ in range(2) for x, _ in batches])

    assert torch.equal(run(1), run(1))
    assert not torch.equal(run(1), run(2))


def test_global_seed_and_other_batches_do_not_matter(images):
    def run(other):
        torch.manual_seed(other)
        return torch.cat([x for x, _ in Batches(images, 7, crop=2, flip=True)])

    assert torch.equal(run(1), run(2))


@pytest.mark.parametrize("options", [{"crop": 2, "flip": True}, {"replacement": True}, {"steps": 30}])
def test_a_restored_state_continues_with_the_same_batches(images, options):
    batches = Batches(images, 7, seed=5, **options)
    list(batches)
    state = batches.state().clone()
    expected = [torch.cat([x for x, _ in batches]) for _ in range(2)]
    other = Batches(images, 7, seed=99, **options)
    other.restore(state)
    for wanted in expected:
        assert torch.equal(torch.cat([x for x, _ in other]), wanted)


def test_flips_are_half_and_offsets_cover_everything(images, monkeypatch):
    seen = []
    batches = Batches(images, 20, crop=3, flip=True, steps=150)
    monkeypatch.setattr(batches, "batch", lambda *args: seen.append(args))
    list(batches)
    _, top, left, mirror = (torch.cat(t) for t in zip(*seen, strict=True))
    assert abs(mirror.float().mean() - 0.5) < 0.04  # 3,000 draws: four standard deviations
    for offsets in (top, left):
        counts = torch.bincount(offsets, minlength=7)
        assert len(counts) == 7 and 330 < counts.min() and counts.max() < 530  # 429 +- 19 each
    assert not torch.equal(top, left)


def test_one_call_a_batch_and_no_python_per_image(images, monkeypatch):
    calls = []
    original = Batches.batch
    monkeypatch.setattr(Batches, "batch", lambda self, *a: calls.append(len(a[0])) or original(self, *a))
    batches = Batches(images, 7, crop=2, flip=True)
    list(batches)
    assert calls == [7] * 8 + [4] and len(calls) == batches.steps


# ---- points, and bad input ---------------------------------------------------------------------


def test_points_are_taken_as_they_are():
    split = Split(torch.randn(30, 2), torch.arange(30) % 2)
    batches = Batches(split, 8, stats=None)
    x, y = (torch.cat(t) for t in zip(*batches, strict=True))
    order = [int((split.x == row).all(1).nonzero()) for row in x]
    assert sorted(order) == list(range(30)) and torch.equal(y, split.y[order])
    found = Batches.for_evaluation(split, batches)
    assert torch.equal(next(iter(found))[0], split.x)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size is 0; expected 1 or more"),
        ({"batch_size": 4, "crop": -1}, "crop is -1"),
        ({"batch_size": 4, "steps": 0}, "steps is 0"),
        ({"batch_size": 4, "steps": -2}, "steps is -2"),
        ({"batch_size": 61, "drop_last": True}, "larger than the 60 examples"),
    ],
)
def test_bad_settings(images, options, message):
    with pytest.raises(ParameterError, match=message):
        Batches(images, **options)


@pytest.mark.parametrize("option", [{"crop": 2}, {"flip": True}])
def test_points_can_be_neither_cropped_nor_flipped(option):
    with pytest.raises(ParameterError, match="need uint8 images"):
        Batches(Split(torch.randn(30, 2), torch.zeros(30).long()), 8, **option)
