"""Preparing images: fitted on one split, applied to any, and whitened means whitened."""

import pytest
import torch

from cifar_utils.data import sets as data
from cifar_utils.data.prepare import (
    AverageImage,
    ContrastNormalise,
    Scale,
    Standardise,
    Whitening,
    covariance,
    spectrum,
)
from cifar_utils.data.sets import Split
from cifar_utils.errors import DataError, ParameterError
from cifar_utils.measure.conditioning import condition_number, patch_moments


def images(count=600, shape=(3, 4, 4), seed=0):
    """Correlated uint8 images: neighbours alike, as in photographs."""
    g = torch.Generator().manual_seed(seed)
    mix = torch.randn(48, 48, generator=g) + 3 * torch.eye(48)
    x = 128 + 8 * torch.randn(count, 48, generator=g) @ mix
    return Split(x.clamp(0, 255).to(torch.uint8).view(count, *shape), torch.arange(count) % 10)


FITTED = [Standardise.fit, AverageImage.fit, Whitening.fit]


@pytest.mark.parametrize("fit", [*FITTED, lambda s: Scale(), lambda s: ContrastNormalise()])
def test_float32_of_the_same_shape_and_labels(fit):
    split = images()
    out = fit(split)(split)
    assert out.x.dtype == torch.float32 and out.x.shape == split.x.shape
    assert torch.equal(out.y, split.y) and out.x.isfinite().all()
    assert split.x.dtype == torch.uint8  # the original is left alone


@pytest.mark.parametrize("fit", [*FITTED, lambda s: Scale(), lambda s: ContrastNormalise()])
def test_bytes_and_floats_give_the_same(fit):
    split = images()
    floats = Split(split.x.float() / 255, split.y)
    torch.testing.assert_close(fit(split)(split).x, fit(floats)(floats).x, atol=2e-3, rtol=2e-3)


@pytest.mark.parametrize("kind", ["zca", "pca"])
def test_whitened_covariance_is_near_identity(kind):
    split = images(3000)
    out = Whitening.fit(split, epsilon=0, kind=kind)(split)
    _, c = covariance(out)
    torch.testing.assert_close(c, torch.eye(48, dtype=torch.float64), atol=5e-3, rtol=0)
    assert condition_number(c) < 1.02 < 10 < condition_number(covariance(Scale()(split))[1])


def test_zca_is_symmetric_and_equals_its_formula():
    split, epsilon = images(), 0.003
    found = Whitening.fit(split, epsilon)
    torch.testing.assert_close(found.matrix, found.matrix.T, atol=1e-4, rtol=1e-4)
    x = (split.x.double() / 255).flatten(1)
    c = torch.cov(x.T, correction=0) + epsilon * torch.eye(48, dtype=torch.float64)
    # W = gain * C^(-1/2), without an eigenvalue decomposition: W C W = gain^2
    w = found.matrix.double() / found.gain
    torch.testing.assert_close(w @ c @ w, torch.eye(48, dtype=torch.float64), atol=1e-3, rtol=0)


def test_zca_changes_images_less_than_pca():
    split = images()
    centred = AverageImage.fit(split)(split).x
    similarity = lambda kind: torch.cosine_similarity(  # noqa: E731
        Whitening.fit(split, 0.001, kind)(split).x.flatten(1), centred.flatten(1)
    ).mean()
    assert similarity("zca") > 0.5 > similarity("pca").abs()


@pytest.mark.parametrize("epsilon", [0.0, 0.01, 1.0])
def test_whitened_pixels_have_mean_variance_one(epsilon):
    split = images()
    out = Whitening.fit(split, epsilon)(split).x
    assert float(out.var(0, correction=0).mean()) == pytest.approx(1, abs=5e-3)


@pytest.mark.parametrize("fit", FITTED)
def test_fitted_on_the_training_split_only(fit):
    train, other = images(seed=0), images(seed=1)
    brighter = Split((other.x.int() + 60).clamp(max=255).to(torch.uint8), other.y)
    prepare = fit(train)
    before = prepare(train).x.clone()
    out = prepare(brighter).x
    assert out.mean() > 0.2  # the shift stays visible: nothing was taken from the other split
    torch.testing.assert_close(prepare(train).x, before)
    torch.testing.assert_close(prepare(brighter[:1]).x, out[:1], atol=1e-4, rtol=1e-4)  # one image at a time, too


def test_standardised_channels_and_average_image():
    split = images()
    by_channel = Standardise.fit(split)(split).x
    torch.testing.assert_close(by_channel.mean((0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(by_channel.std((0, 2, 3), correction=0), torch.ones(3), atol=1e-5, rtol=0)
    by_pixel = AverageImage.fit(split)(split).x
    torch.testing.assert_close(by_pixel.mean(0), torch.zeros(3, 4, 4), atol=1e-5, rtol=0)
    torch.testing.assert_close(by_pixel.var((0, 2, 3), correction=0), torch.ones(3), atol=1e-4, rtol=0)


def test_chunks_give_the_same_covariance(monkeypatch):
    split = images(250)
    whole = covariance(split)
    monkeypatch.setattr("cifar_utils.data.prepare.CHUNK", 33)
    for a, b in zip(whole, covariance(split), strict=True):
        torch.testing.assert_close(a, b, atol=1e-8, rtol=1e-5)
    expected = torch.cov((split.x.double() / 255).flatten(1).T, correction=0)
    torch.testing.assert_close(whole[1], expected, atol=1e-7, rtol=1e-4)


def test_images_of_one_colour_give_no_nan():
    plain = Split(torch.full((5, 3, 4, 4), 77, dtype=torch.uint8), torch.zeros(5, dtype=torch.int64))
    assert torch.equal(ContrastNormalise()(plain).x, torch.zeros(5, 3, 4, 4))
    for fit in FITTED:
        assert fit(images())(plain).x.isfinite().all()


def test_contrast_normalisation_gives_every_image_mean_zero_and_deviation_one():
    contrasts = torch.tensor([1, 0.3, 0.02]).view(3, 1, 1, 1)
    x = 0.4 + contrasts * (torch.rand(3, 3, 4, 4, generator=torch.Generator().manual_seed(0)) - 0.5)
    y = torch.zeros(3, dtype=torch.int64)
    found = ContrastNormalise()(Split(x, y)).x
    torch.testing.assert_close(found.mean((1, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(found.std((1, 2, 3), correction=0), torch.ones(3), atol=1e-4, rtol=0)
    floored = ContrastNormalise(floor=1.0)(Split(x, y)).x  # no image varies so much
    torch.testing.assert_close(floored, x - x.mean((1, 2, 3), keepdim=True))


def test_contrast_normalisation_ignores_brightness_and_contrast():
    x = torch.rand(4, 3, 4, 4)
    y = torch.zeros(4, dtype=torch.int64)
    prepare = ContrastNormalise()
    torch.testing.assert_close(prepare(Split(x, y)).x, prepare(Split(0.5 * x + 0.2, y)).x, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("fit", FITTED)
def test_nothing_that_varies_is_refused(fit):
    plain = Split(torch.full((5, 3, 4, 4), 77, dtype=torch.uint8), torch.zeros(5, dtype=torch.int64))
    with pytest.raises(DataError, match="vary|alike"):
        fit(plain)


def test_too_few_images():
    few = images()[:40]  # 40 images in 48 dimensions
    with pytest.raises(DataError, match="40 images in 48 dimensions is singular"):
        Whitening.fit(few, epsilon=0)
    assert Whitening.fit(few, epsilon=0.01)(images()).x.isfinite().all()
    with pytest.raises(DataError, match="at least 2 images; got 1"):
        Whitening.fit(images()[:1])
    with pytest.raises(DataError, match="no images"):
        AverageImage.fit(images()[:0])


def test_wrong_shapes_and_settings():
    points = Split(torch.rand(10, 48), torch.zeros(10, dtype=torch.int64))
    for prepare in (Scale(), ContrastNormalise()):
        with pytest.raises(DataError, match=r"\(N, C, H, W\)"):
            prepare(points)
    smaller = Split(torch.zeros(2, 3, 2, 2, dtype=torch.uint8), torch.zeros(2, dtype=torch.int64))
    for fit in (AverageImage.fit, Whitening.fit):
        with pytest.raises(DataError, match="fitted on images of shape"):
            fit(images())(smaller)
    grey = Split(torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.zeros(2, dtype=torch.int64))
    with pytest.raises(DataError, match="channels 3; got 1"):
        Standardise.fit(images())(grey)
    with pytest.raises(ParameterError, match="epsilon is -1"):
        Whitening.fit(images(), epsilon=-1)
    with pytest.raises(ParameterError, match="'zca' or 'pca'"):
        Whitening.fit(images(), kind="cholesky")
    with pytest.raises(ParameterError, match="floor"):
        ContrastNormalise(0)
    with pytest.raises(ParameterError, match="kernel is 9"):
        patch_moments(images(), kernel=9)


def test_patch_moments_are_those_of_every_window():
    split = images(7)
    found = patch_moments(split, kernel=3, padding=1)
    padded = torch.nn.functional.pad(split.x.double() / 255, [1] * 4)
    windows = [
        torch.cat([padded[n, :, i : i + 3, j : j + 3].flatten(), torch.ones(1)])
        for n in range(7)
        for i in range(4)
        for j in range(4)
    ]
    p = torch.stack(windows)
    torch.testing.assert_close(found, p.T @ p / len(p), atol=1e-5, rtol=1e-5)
    assert found.shape == (28, 28) and float(found[-1, -1]) == pytest.approx(1)


def test_whitening_helps_the_condition_of_what_a_filter_sees():
    split = data.load("cifar10", data="sample").train[torch.arange(300)]
    mean, values, vectors = spectrum(split)
    zca = Whitening.from_spectrum(mean, values, vectors, len(split), epsilon=0.001)
    conditions = [condition_number(patch_moments(p(split))) for p in (Scale(), Standardise.fit(split), zca)]
    assert conditions == sorted(conditions, reverse=True)


def test_condition_number():
    assert condition_number(torch.diag(torch.tensor([8.0, 2.0]))) == pytest.approx(4)
    assert condition_number(torch.zeros(2, 2)) == float("inf")
