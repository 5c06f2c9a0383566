"""What the names in recipes stand for, beside the formula of each."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from cifar_utils.data import Split, load
from cifar_utils.data.sets import Dataset
from cifar_utils.train import Part, parts


def images(count: int = 40, seed: int = 0) -> Split:
    """Images of different contrasts, whose last pixel is always black."""
    g = torch.Generator().manual_seed(seed)
    x = torch.randint(0, 256, (count, 3, 4, 4), generator=g) * torch.linspace(0.2, 1, count).view(-1, 1, 1, 1)
    x[..., 3, 3] = 0
    return Split(x.to(torch.uint8), torch.arange(count) % 10)


def in_numpy(split: Split) -> np.ndarray:
    return split.x.double().numpy() / 255


# ---- losses ---------------------------------------------------------------------------------------------


def shares(scores: np.ndarray) -> np.ndarray:
    powers = np.exp(scores - scores.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def smoothed(scores: np.ndarray, y: np.ndarray, smoothing: float = 0.0) -> float:
    wanted = (1 - smoothing) * np.eye(scores.shape[1])[y] + smoothing / scores.shape[1]
    return -(wanted * np.log(shares(scores))).sum(1).mean()


LOSSES = {
    "as it is": (Part("cross-entropy"), smoothed),
    "smoothed": (Part("cross-entropy", smoothing=0.2), lambda scores, y: smoothed(scores, y, 0.2)),
    "cut": (Part("cut cross-entropy", at=2.0), lambda scores, y: smoothed(scores.clip(-2, 2), y)),
    "two softmaxes": (
        Part("cut cross-entropy", at=2.0, softmaxes=2),
        lambda scores, y: smoothed(shares(scores.clip(-2, 2)), y),
    ),
}


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_is_its_formula(name):
    part, formula = LOSSES[name]
    scores = 3 * torch.randn(20, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y = torch.arange(20) % 5
    assert float(parts.build("loss", part)(scores, y)) == pytest.approx(formula(scores.numpy(), y.numpy()))


@pytest.mark.parametrize("softmaxes", [1, 2])
def test_scores_that_overflowed_are_cut_and_those_that_are_no_number_are_zero(softmaxes):
    loss = parts.build("loss", Part("cut cross-entropy", at=2.0, softmaxes=softmaxes))
    y = torch.tensor([0, 2])
    found = loss(torch.tensor([[math.inf, 1, math.nan], [0.5, -math.inf, 1e30]]), y)
    assert float(found) == pytest.approx(float(loss(torch.tensor([[2.0, 1, 0], [0.5, -2, 2]]), y)))


# ---- prepared images ------------------------------------------------------------------------------------


def each_pixel(train: np.ndarray, x: np.ndarray) -> np.ndarray:
    return (x - train.mean(0)) / np.maximum(train.std(0, ddof=1), 1e-6)


def contrast(train: np.ndarray, x: np.ndarray) -> np.ndarray:
    return (x - x.mean((1, 2, 3), keepdims=True)) / x.std((1, 2, 3), keepdims=True)


def average_image(train: np.ndarray, x: np.ndarray) -> np.ndarray:
    left = train - train.mean(0)
    return (x - train.mean(0)) / left.std((0, 2, 3)).reshape(3, 1, 1)


def whitening(train: np.ndarray, x: np.ndarray) -> np.ndarray:
    flat = train.reshape(len(train), -1)
    values, vectors = np.linalg.eigh(np.cov(flat.T, ddof=0))
    gain = (values / (values + 0.01)).mean() ** -0.5
    moved = x.reshape(len(x), -1) - flat.mean(0)
    return (gain * moved @ vectors / np.sqrt(values + 0.01) @ vectors.T).reshape(x.shape)


PREPARED = {
    "0..1": lambda train, x: x,
    "-1..1": lambda train, x: 2 * x - 1,
    "contrast": contrast,
    "average image": average_image,
    "each pixel": each_pixel,
    "whitening": whitening,
}


@pytest.mark.parametrize("name", PREPARED)
def test_images_are_prepared_by_the_formula_on_the_training_images(name):
    train, other = images(), images(7, seed=1)
    prepared = parts.build("prepare", Part(name), train)
    for split in (train, other):
        found = prepared(split)
        expected = PREPARED[name](in_numpy(train), in_numpy(split))
        assert found.x.dtype == torch.float32 and torch.equal(found.y, split.y)
        np.testing.assert_allclose(found.x.numpy(), expected, atol=1e-4, rtol=1e-4)


# ---- selections -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sample() -> Dataset:
    return load("cifar10", data="sample")


def drawn_anew(before: Dataset, after: Dataset) -> None:
    """Labels say nothing of images any more, and held-out ones are left alone."""
    assert after.val is before.val and after.test is before.test
    assert torch.equal(after.train.x, before.train.x)
    y, classes = after.train.y, len(before.classes)
    draws = torch.Generator().manual_seed(3)
    assert y.dtype == torch.int64
    assert torch.equal(y, torch.randint(classes, (len(y),), generator=draws))
    other = parts.build("select", Part("random labels", seed=4), before).train.y
    for against in (before.train.y, other):
        same = (y == against).float().mean().item()
        assert abs(same - 1 / classes) < 4 * (0.09 / len(y)) ** 0.5  # four standard deviations


def means_of_squares(before: Dataset, after: Dataset) -> None:
    """Every number is the rounded mean of a square of four by four."""
    for old, new in ((before.train, after.train), (before.val, after.val), (before.test, after.test)):
        squares = old.x.numpy().astype(float).reshape(len(old), 3, 8, 4, 8, 4)
        assert new.x.dtype == torch.uint8 and torch.equal(new.y, old.y)
        assert np.array_equal(new.x.numpy(), squares.mean((3, 5)).round())


SELECTED = {
    "random labels": (Part("random labels", seed=3), drawn_anew),
    "averaged down": (Part("averaged down", side=8), means_of_squares),
}


@pytest.mark.parametrize("name", SELECTED)
def test_a_selection_is_what_it_says(name, sample):
    part, check = SELECTED[name]
    x, y = sample.train.x.clone(), sample.train.y.clone()
    check(sample, parts.build("select", part, sample))
    assert torch.equal(sample.train.x, x) and torch.equal(sample.train.y, y)


# ---- schedules ------------------------------------------------------------------------------------------

RATE, STEPS, EPOCHS = 0.4, 3, 4

# rates as functions of the epoch and of the step, both counted from 0
SCHEDULES = {
    "exponential": (Part("exponential", gamma=0.5), lambda epoch, step: RATE * 0.5**epoch),
    "steps": (Part("steps", at=(1, 3), gamma=0.1), lambda epoch, step: RATE * 0.1 ** ((epoch >= 1) + (epoch >= 3))),
    "cosine": (Part("cosine"), lambda epoch, step: RATE * (1 + math.cos(math.pi * epoch / EPOCHS)) / 2),
    "cosine by step": (
        Part("cosine", by="step"),
        lambda epoch, step: RATE * (1 + math.cos(math.pi * step / (STEPS * EPOCHS))) / 2,
    ),
    "warm restarts": (
        Part("warm restarts", every=2),
        lambda epoch, step: RATE * (1 + math.cos(math.pi * (epoch % 2) / 2)) / 2,
    ),
    "linear": (
        Part("linear", rise=0.25, start=0.2, end=0.1),
        lambda epoch, step: RATE * (0.2 + 0.8 * step / 3 if step < 3 else 1 - 0.9 * (step - 3) / 9),
    ),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_is_its_formula(name):
    part, formula = SCHEDULES[name]
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], RATE)
    schedule, every = parts.build("schedule", part, optimizer, STEPS, EPOCHS)
    found = []
    for step in range(STEPS * EPOCHS):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if every == "step" or step % STEPS == STEPS - 1:
            schedule.step()
    assert found == pytest.approx([formula(step // STEPS, step) for step in range(STEPS * EPOCHS)])
