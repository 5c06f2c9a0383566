"""Fully connected layers rewritten as convolutions, so that a network takes larger images."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor, nn

from ..errors import ParameterError


def as_convolutions(model: nn.Sequential, image: tuple[int, int, int]) -> nn.Sequential:
    """Return a copy of `model` without fully connected layers, which computes the same scores.

    The first fully connected layer becomes a convolution whose kernel is as large as the feature map
    that it was built for, every later one a convolution of 1x1. On images of the planned size the
    copy gives (B, classes, 1, 1) with the scores of `model`; on larger ones it gives a map of scores
    (Long, Shelhamer and Darrell, "Fully convolutional networks for semantic segmentation", 2015).

    Args:
        model: layers in a row, one `nn.Flatten` between feature maps and fully connected layers.
        image: (channels, height, width) of the images that the fully connected layers were built for.

    Returns:
        A network with weights of its own, in the mode (training or evaluation) of `model`.

    Raises:
        ParameterError: `model` is not a row of layers with one `nn.Flatten`, or does not take `image`.
    """
    if not isinstance(model, nn.Sequential) or sum(isinstance(m, nn.Flatten) for m in model) != 1:
        raise ParameterError("as_convolutions needs an nn.Sequential with exactly one nn.Flatten; got "
                             f"{type(model).__name__}.")  # fmt: skip
    flatten = next(i for i, m in enumerate(model) if isinstance(m, nn.Flatten))
    weight = next(model.parameters())
    before = nn.Sequential(*list(model)[:flatten]).eval()
    try:
        with torch.no_grad():
            kernel = tuple(before(weight.new_zeros(1, *image)).shape[1:])
    except RuntimeError as error:
        raise ParameterError(f"The network does not take images of shape {tuple(image)}: {error}") from None
    finally:
        model.train(model.training)

    layers: list[nn.Module] = []
    for layer in model:
        if isinstance(layer, nn.Linear):
            if layer.in_features != kernel[0] * kernel[1] * kernel[2]:
                raise ParameterError(
                    f"A fully connected layer takes {layer.in_features} values, but the map before it has "
                    f"{'x'.join(map(str, kernel))}; pass the image size that the network was built for."
                )
            layers.append(_convolution(layer, kernel))
            kernel = (layer.out_features, 1, 1)
        elif not isinstance(layer, nn.Flatten):
            layers.append(deepcopy(layer))
    return nn.Sequential(*layers).train(model.training)


def _convolution(layer: nn.Linear, kernel: tuple[int, int, int]) -> nn.Conv2d:
    """Return `layer` as a convolution over maps of `kernel` channels, rows and columns."""
    channels, height, width = kernel
    weight: Tensor = layer.weight.detach()
    new = nn.Conv2d(channels, layer.out_features, (height, width), bias=layer.bias is not None)
    new = new.to(weight.device, weight.dtype)
    with torch.no_grad():
        new.weight.copy_(weight.view(layer.out_features, *kernel))
        if new.bias is not None:
            new.bias.copy_(layer.bias)
    return new
