"""Brightness, contrast and saturation of a training batch, changed at random."""

from __future__ import annotations

import pytest
import torch

from cifar_utils.data.augment import ColourJitter
from cifar_utils.errors import ParameterError

#: Of red, green and blue in a grey, by ITU-R BT.601.
WEIGHTS = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def batch():
    """Forty random 3x12x10 images in 0..1 and their labels."""
    return torch.rand(40, 3, 12, 10, generator=seeded(7)), torch.arange(40) % 10


def test_jitter_of_brightness_is_a_factor_of_each_image(batch):
    x = batch[0] * 0.5
    found, _ = ColourJitter(0.4, 0)(x, batch[1], seeded())
    factor = (found / x).flatten(1)
    assert torch.allclose(factor, factor[:, :1].expand_as(factor), atol=1e-5)
    assert factor.min() >= 0.6 - 1e-5 and factor.max() <= 1.4 + 1e-5 and factor[:, 0].std() > 0.15


def test_jitter_of_contrast_keeps_the_mean_grey(batch):
    x = 0.4 + 0.2 * batch[0]  # nothing is clipped
    grey = (x * WEIGHTS).sum(1)
    contrast = (ColourJitter(0, 0.9)(x, batch[1], seeded())[0] * WEIGHTS).sum(1)
    assert torch.allclose(contrast.mean((1, 2)), grey.mean((1, 2)), atol=1e-5)
    assert not torch.allclose(contrast, grey, atol=1e-3)


def test_jitter_of_saturation_keeps_every_grey_and_moves_colours_by_one_factor_an_image(batch):
    x = 0.4 + 0.2 * batch[0]
    grey = (x * WEIGHTS).sum(1)
    saturated = ColourJitter(0, 0, 0.9)(x, batch[1], seeded())[0]
    assert torch.allclose((saturated * WEIGHTS).sum(1), grey, atol=1e-5)
    factor = ((saturated - grey[:, None]) / (x - grey[:, None])).flatten(1).median(1).values
    assert factor.min() >= 0.1 - 1e-3 and factor.max() <= 1.9 + 1e-3 and factor.std() > 0.3
    moved = torch.lerp(grey[:, None], x, factor.view(-1, 1, 1, 1))
    assert torch.allclose(saturated, moved, atol=1e-4)  # one factor an image
    colourless = grey[:, None].expand(-1, 3, -1, -1)
    assert torch.allclose(ColourJitter(0, 0, 0.9)(colourless, batch[1], seeded())[0], colourless, atol=1e-5)


def test_grey_images_have_brightness_and_contrast_but_no_saturation(batch):
    x = batch[0][:, :1]
    assert ColourJitter()(x, batch[1], seeded())[0].shape == x.shape
    with pytest.raises(ParameterError, match="saturation needs images of 3 channels; these have 1"):
        ColourJitter(saturation=0.5)(x, batch[1], seeded())
