from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from cifar_utils.data.augment import (
    ColourJitter,
    CutMix,
    Cutout,
    Flip,
    GaussianNoise,
    Mixup,
    Rotation,
    box,
    rotate,
    soft,
)
from cifar_utils.data.batches import Batches, training_batches
from cifar_utils.data.sets import channel_stats
from cifar_utils.errors import ParameterError
from cifar_utils.train import loop as train

EVERY = {
    "flip": Flip("vertical"),
    "jitter": ColourJitter(0.5, 0.5, 0.5),
    "rotation": Rotation(30),
    "noise": GaussianNoise(0.1),
    "cutout": Cutout(5),
    "mixup": Mixup(10, 0.5),
    "cutmix": CutMix(10),
}
NOTHING = {
    "flip": Flip("both", p=0),
    "jitter": ColourJitter(0, 0, 0),
    "rotation": Rotation(0),
    "noise": GaussianNoise(0),
    "cutout": Cutout(0),
    "cutout, p": Cutout(5, p=0),
    "mixup": Mixup(10, 0.5, p=0),
    "cutmix": CutMix(10, p=0),
}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def batch():
    """Forty random 3x12x10 images in 0..1 and their labels."""
    return torch.rand(40, 3, 12, 10, generator=seeded(7)), torch.arange(40) % 10


def numbered(count: int, height: int = 32, width: int = 32):
    """Images whose every pixel is the image's number over `count`; every image is of its own class."""
    x = (torch.arange(count) / count).view(-1, 1, 1, 1).expand(count, 3, height, width).contiguous()
    return x, torch.arange(count)


# ---- every transform -------------------------------------------------------------------------------


@pytest.mark.parametrize("transform", EVERY.values(), ids=EVERY)
def test_same_generator_same_batch_other_generator_other_batch(batch, transform):
    x, y = batch
    first, again, other = (transform(x.clone(), y.clone(), seeded(s)) for s in (1, 1, 2))
    assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])


@pytest.mark.parametrize("transform", EVERY.values(), ids=EVERY)
def test_global_seed_is_neither_used_nor_moved(batch, transform):
    state = torch.get_rng_state()
    transform(*batch, seeded())
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("transform", EVERY.values(), ids=EVERY)
def test_images_stay_in_range_and_labels_stay_or_share(batch, transform):
    x, y = batch
    found, labels = transform(x.clone(), y.clone(), seeded())
    assert found.shape == x.shape and found.dtype == torch.float32
    assert found.min() >= 0 and found.max() <= 1 and not torch.equal(found, x)
    if isinstance(transform, (Mixup, CutMix)):
        assert labels.shape == (40, 10) and labels.dtype == torch.float32
        assert torch.allclose(labels.sum(1), torch.ones(40)) and labels.min() >= 0
    else:
        assert torch.equal(labels, y)


@pytest.mark.parametrize("transform", NOTHING.values(), ids=NOTHING)
def test_zero_strength_changes_nothing(batch, transform):
    x, y = batch
    found, labels = transform(x.clone(), y.clone(), seeded())
    assert torch.equal(found, x)
    assert torch.equal(labels.argmax(1) if labels.dim() == 2 else labels, y)
    assert labels.dim() == 1 or torch.equal(labels.max(1).values, torch.ones(40))


# ---- what each one does ------------------------------------------------------------------------------


def test_flips_are_mirrors_with_the_probability_asked_for(batch):
    x, y = batch
    for axis, dims in (("horizontal", [3]), ("vertical", [2]), ("both", [2, 3])):
        found, _ = Flip(axis, p=1)(x, y, seeded())
        assert torch.equal(found, x.flip(dims))
    many, labels = numbered(2000, 2, 2)
    many[:, :, 0] += 1
    turned = (Flip("vertical", p=0.3)(many, labels, seeded())[0] != many).flatten(1).any(1).float().mean()
    assert abs(turned - 0.3) < 0.04  # four standard deviations


def test_rotation_by_quarter_turns_equals_rot90(batch):
    square = batch[0][:, :, :10]
    for quarters in (1, 2, 3):
        turned = rotate(square, torch.full((40,), quarters * math.pi / 2))
        assert torch.allclose(turned, square.rot90(quarters, (2, 3)), atol=1e-4)


def test_rotation_of_an_oblong_image_keeps_lengths():
    x = torch.zeros(1, 1, 41, 21)
    x[..., 20, 14] = 1  # four pixels right of the middle
    y, column = divmod(int(rotate(x, torch.tensor([math.pi / 2]), "zeros").argmax()), 21)
    assert (y, column) == (16, 10)  # anticlockwise: four pixels above it


def test_rotation_angles_are_within_the_limit_on_both_sides():
    x = torch.zeros(500, 1, 33, 33)
    x[..., 16, 28] = 1
    place = Rotation(20, "zeros")(x, torch.zeros(500).long(), seeded())[0].flatten(1).argmax(1)
    angle = torch.atan2(16.0 - place // 33, place % 33 - 16.0) * 180 / math.pi
    assert angle.abs().max() < 23 and angle.max() > 17 and angle.min() < -17


def test_noise_has_the_deviation_asked_for():
    x = torch.full((50, 3, 16, 16), 0.5)
    found, _ = GaussianNoise(8 / 255)(x, torch.zeros(50).long(), seeded())
    assert abs((found - x).std() * 255 - 8) < 0.1 and abs((found - x).mean() * 255) < 0.2


def test_cutout_removes_one_square_of_exactly_its_size(batch):
    x, y = batch
    found, _ = Cutout(4, fill=0.25)(x.clone(), y, seeded())
    gone = (found != x).any(1)
    assert torch.equal(gone.sum((1, 2)), torch.full((40,), 16))
    assert torch.equal(gone.any(2).sum(1), torch.full((40,), 4)) and (found[gone[:, None].expand_as(x)] == 0.25).all()
    assert torch.equal(Cutout(10, fill=0)(x.clone(), y, seeded())[0].count_nonzero(), torch.tensor(40 * 3 * 20))


def test_cutout_reaches_every_place_about_equally():
    x, y = torch.ones(4000, 1, 8, 8), torch.zeros(4000).long()
    corners = (Cutout(7, fill=0)(x, y, seeded())[0] == 0).float().mean(0)[0]
    assert 0.2 < corners[0, 0] < 0.3 and 0.2 < corners[-1, -1] < 0.3 and corners[4, 4] == 1


# ---- mixing: images and labels agree ---------------------------------------------------------------


@pytest.mark.parametrize("alpha", [0.05, 0.2, 1.0, 5.0])
def test_mixup_gives_image_and_label_the_same_share(alpha):
    x, y = numbered(50)
    found, labels = Mixup(50, alpha)(x, y, seeded())
    assert torch.allclose(labels @ (torch.arange(50) / 50), found[:, 0, 0, 0], atol=1e-5)
    assert torch.allclose(found, found[:, :1, :1, :1].expand_as(found))


@pytest.mark.parametrize("alpha", [0.2, 1.0, 5.0])
@pytest.mark.parametrize("shape", [(32, 32), (12, 10), (7, 7)])
def test_cutmix_label_weights_are_exact_shares_of_pixels(alpha, shape):
    x, y = numbered(64, *shape)
    found, labels = CutMix(64, alpha)(x.clone(), y, seeded(3))
    number = (found[:, 0] * 64).round().long().flatten(1)
    shares = F.one_hot(number, 64).sum(1) / number.shape[1]  # counted pixel by pixel
    assert torch.allclose(labels, shares, atol=1e-6)
    assert (shares > 0).sum(1).max() == 2 and (shares[torch.arange(64), y] < 1).any()
    for image, own in zip(number.view(64, *shape), y, strict=True):  # what was pasted is one rectangle
        other = image != own
        assert other.sum() == other.any(1).sum() * other.any(0).sum()


def test_soft_labels_are_mixed_again(batch):
    x, y = batch
    g = seeded()
    x, once = Mixup(10, 1.0)(x, y, g)
    x, twice = CutMix(10)(x, once, g)
    assert torch.allclose(twice.sum(1), torch.ones(40)) and (twice > 0).sum(1).max() > 2


def test_beta_shares_have_the_mean_and_variance_of_the_distribution():
    x, y = numbered(4000, 1, 1)
    for alpha in (0.2, 1.0, 4.0):
        labels = Mixup(4000, alpha)(x, y, seeded())[1]
        share = labels[torch.arange(4000), y]
        assert abs(share.mean() - 0.5) < 0.03
        assert abs(share.var() - 0.25 / (2 * alpha + 1)) < 0.01


def test_tiny_alpha_gives_no_nan():
    x, y = numbered(2000, 1, 1)
    found, labels = Mixup(2000, 1e-3)(x, y, seeded())
    assert found.isfinite().all() and labels.isfinite().all()


def test_box_counts_rows_and_columns():
    edges = [torch.tensor(v) for v in ([0, 2], [3, 2], [1, 0], [5, 4])]
    assert box(torch.zeros(2, 1, 6, 6), *edges).sum((1, 2, 3)).tolist() == [12, 0]


def test_soft_labels():
    assert torch.equal(soft(torch.tensor([1, 0]), 3), torch.tensor([[0.0, 1, 0], [1, 0, 0]]))
    with pytest.raises(ParameterError, match="shares of 3 classes; expected 4"):
        soft(torch.zeros(2, 3), 4)
    with pytest.raises(ParameterError, match="a label 3; expected labels below classes=3"):
        soft(torch.tensor([1, 3]), 3)


# ---- in Batches and in training --------------------------------------------------------------------


@pytest.mark.parametrize("channels_last", [False, True])
def test_augmented_batches_that_change_nothing_are_the_plain_ones(images, channels_last):
    options = dict(crop=2, flip=True, channels_last=channels_last, seed=4)
    plain = training_batches(images, 7, **options)
    augmented = training_batches(images, 7, augment=[ColourJitter(0, 0), Cutout(0)], **options)
    wanted = torch.channels_last if channels_last else torch.contiguous_format
    for _ in range(2):
        for (x, y), (found, labels) in zip(plain, augmented, strict=True):
            assert torch.allclose(x, found, atol=1e-5) and torch.equal(y, labels)
            assert found.is_contiguous(memory_format=wanted)


def test_order_crops_and_flips_do_not_depend_on_augment(images):
    plain, noisy = (Batches(images, 7, crop=2, flip=True, augment=a, seed=4) for a in ((), [GaussianNoise(0.01)]))
    for _ in range(3):
        for (x, y), (found, labels) in zip(plain, noisy, strict=True):
            assert torch.equal(y, labels) and (x - found).abs().max() < 0.07


def test_transforms_see_pixels_in_0_to_1_and_the_batch_is_normalised_after_them(images):
    seen = []

    def black(x, y, generator):
        seen.append((float(x.min()), float(x.max())))
        return torch.zeros_like(x), y

    x, _ = next(iter(training_batches(images, 60, augment=[black])))
    mean, std = channel_stats(images)
    assert 0 <= seen[0][0] < 0.01 and 0.99 < seen[0][1] <= 1
    assert torch.allclose(x, (-mean / std).view(1, 3, 1, 1).expand_as(x), atol=1e-5)


def test_transforms_are_applied_in_the_order_given(images):
    first = next(iter(Batches(images, 60, augment=[Cutout(10, fill=1.0), ColourJitter(1.0, 0)])))[0]
    second = next(iter(Batches(images, 60, augment=[ColourJitter(1.0, 0), Cutout(10, fill=1.0)])))[0]
    assert (second == 1).float().mean() > 0.8 > (first == 1).float().mean()


@pytest.mark.parametrize("transform", EVERY.values(), ids=EVERY)
def test_evaluation_is_not_augmented(images, transform):
    augmented = training_batches(images, 7, crop=2, augment=[transform])
    plain = training_batches(images, 7, crop=2)
    for (x, y), (found, labels) in zip(
        Batches.for_evaluation(images, plain), Batches.for_evaluation(images, augmented), strict=True
    ):
        assert torch.allclose(x, found, atol=1e-6) and torch.equal(y, labels)


@pytest.mark.parametrize("transform", EVERY.values(), ids=EVERY)
def test_a_restored_state_continues_with_the_same_batches(images, transform):
    options = dict(crop=2, flip=True, augment=[transform])
    batches = Batches(images, 7, seed=5, **options)
    list(batches)
    state = batches.state().clone()
    wanted = [(x, y) for _ in range(2) for x, y in batches]
    other = Batches(images, 7, seed=99, **options)
    other.restore(state)
    for (x, y), (found, labels) in zip(wanted, [b for _ in range(2) for b in other], strict=True):
        assert torch.equal(x, found) and torch.equal(y, labels)


def test_augmentation_has_a_stream_of_its_own(images):
    first, second = Batches(images, 7, augment=[GaussianNoise()]).state().chunk(2)
    assert not torch.equal(first, second)
    assert torch.equal(first, Batches(images, 7).state())  # the default path keeps its single generator


def fitted(images, epochs, checkpoint=None):
    train.seed_everything(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(360, 16), nn.ReLU(), nn.Linear(16, 10))
    augment = [ColourJitter(), CutMix(10)]
    batches = training_batches(images, 16, crop=2, flip=True, augment=augment, seed=3)
    history = train.fit(
        model, batches, torch.optim.SGD(model.parameters(), lr=0.1), epochs=epochs, checkpoint=checkpoint,
        evaluate_on={"val": Batches.for_evaluation(images, batches)},
    )  # fmt: skip
    return {**vars(history), "seconds": 0}, model


def test_a_killed_run_ends_with_the_same_numbers(images, tmp_path):
    whole, model = fitted(images, 5)
    fitted(images, 2, tmp_path / "run.safetensors")
    resumed, other = fitted(images, 5, tmp_path / "run.safetensors")
    assert resumed == whole
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))


def test_accuracy_with_soft_labels_counts_the_largest_share(images):
    """A network that ignores its input: every batch's accuracy can be counted by hand."""

    class Fixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.scores = nn.Parameter(torch.arange(10.0))

        def forward(self, x):
            return self.scores.expand(len(x), 10)

    batches = training_batches(images, 60, augment=[CutMix(10)], seed=1)
    wanted = [int((y.argmax(1) == 9).sum()) / 60 for _ in range(2) for _, y in batches]
    batches = training_batches(images, 60, augment=[CutMix(10)], seed=1)
    model = Fixed()
    history = train.fit(model, batches, torch.optim.SGD(model.parameters(), lr=0.0), epochs=2)
    assert history.train_accuracy == pytest.approx(wanted)
    x, y = next(iter(training_batches(images, 60, augment=[CutMix(10)], seed=1)))
    expected = -(y * F.log_softmax(torch.arange(10.0), 0)).sum(1).mean()
    assert history.train_loss[0] == pytest.approx(float(expected), rel=1e-5)

    class Again:  # what evaluate needs of batches
        device = torch.device("cpu")

        def __iter__(self):
            yield x, y

    assert train.evaluate(model, Again())[1] == pytest.approx(wanted[0])


# ---- bad settings ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Flip("diagonal"), "axis is 'diagonal'; expected one of horizontal, vertical, both"),
        (lambda: Flip(p=1.5), "p is 1.5; expected a probability from 0 to 1"),
        (lambda: Cutout(4, p=-0.1), "p is -0.1"),
        (lambda: CutMix(10, p=2), "p is 2"),
        (lambda: Mixup(10, p=math.nan), "p is nan"),
        (lambda: Mixup(10, 0.0), "alpha is 0.0; expected a number above 0"),
        (lambda: CutMix(10, -1.0), "alpha is -1.0"),
        (lambda: CutMix(10, math.nan), "alpha is nan"),
        (lambda: Mixup(0), "classes is 0"),
        (lambda: Cutout(-1), "size is -1; expected 0 or more pixels"),
        (lambda: Cutout(4, fill=2.0), "fill is 2.0"),
        (lambda: ColourJitter(brightness=1.5), "brightness is 1.5; expected a strength from 0 to 1"),
        (lambda: ColourJitter(contrast=-0.5), "contrast is -0.5"),
        (lambda: Rotation(-5), "degrees is -5; expected 0 to 180"),
        (lambda: Rotation(15, "wrap"), "padding is 'wrap'"),
        (lambda: GaussianNoise(-0.1), "std is -0.1"),
    ],
)
def test_bad_settings(make, message):
    with pytest.raises(ParameterError, match=message):
        make()


def test_a_square_larger_than_the_image(batch):
    with pytest.raises(ParameterError, match="size is 11, larger than the images of 12x10 pixels"):
        Cutout(11)(*batch, seeded())


def test_points_cannot_be_augmented(images):
    from cifar_utils.data.sets import Split

    with pytest.raises(ParameterError, match="augment needs uint8 images"):
        Batches(Split(torch.randn(30, 2), torch.zeros(30).long()), 8, augment=[GaussianNoise()])
