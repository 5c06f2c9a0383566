"""What fast trainings are made of: parts of recipes for `models.FastNet`, its first layer, its steps, its batches."""

from __future__ import annotations

import torch
from torch import nn
from torch.optim import lr_scheduler as schedulers

from ..data.batches import Batches
from ..data.sets import Dataset, Split
from ..data.views import AlternatingBatches
from ..errors import ParameterError
from ..models.fast import FastNet, WhitenedPatches
from . import parts
from .muon import Muon


@parts.register("model", "fast")
def fast(data: Dataset, **options) -> nn.Module:
    """Whitened patches, three pairs of convolutions, one linear map."""
    return FastNet(len(data.classes), **options)


@parts.register("start", "whitened patches")
def whitened_patches(model: nn.Module, batches: Batches, images: int = 5000, epsilon: float = 5e-4) -> None:
    """Fit the first layer to the patches of the first training images."""
    layer = next((each for each in model.modules() if isinstance(each, WhitenedPatches)), None)
    if layer is None:
        raise ParameterError("Whitened patches are a start for networks whose first layer is WhitenedPatches.")
    held = batches.in_order(batches.split[:images])
    layer.fit_to(torch.cat([x for x, _ in held]), epsilon)


@parts.register("optimizer", "Muon")
def muon(parameters, **options) -> Muon:
    """Steps of one length along every direction for filters, plain descent for the rest."""
    return Muon(parameters, **options)


@parts.register("schedule", "linear")
def linear(optimizer, steps: int, epochs: int, rise: float = 0.0, start: float = 0.2, end: float = 0.0):
    """Go from `start` times the rate up to it over the share `rise` of all steps, then down to `end` times it."""
    total, top = steps * epochs, rise * steps * epochs

    def factor(step: int) -> float:
        if step < top:
            return start + (1 - start) * step / top
        return 1 + (end - 1) * (step - top) / (total - top)

    return schedulers.LambdaLR(optimizer, factor), "step"


@parts.register("draw", "alternating")
def alternating(train: Split, batch: int, given: dict, **options) -> Batches:
    """Every second pass shows each image mirrored; images are shifted, and smaller in the first passes."""
    return AlternatingBatches(train, batch, **given, **options)
