"""Receptive fields: which pixels a unit depends on, by arithmetic, by gradient, and how strongly."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor, nn

from ..errors import ParameterError

_WINDOWS = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)
_POINTWISE = (nn.ReLU, nn.Tanh, nn.Sigmoid, nn.Identity, nn.Dropout, nn.BatchNorm2d)


def field_table(model: nn.Sequential) -> list[dict]:
    """Return the receptive field of every convolution and pooling of `model`, by arithmetic.

    Args:
        model: layers in a row; fully connected ones rewritten by `as_convolutions`.

    Returns:
        Rows with `index` (of the layer in `model`), `layer` (class name), `kernel`, `stride`, `size` (width of the
        field in pixels), `step` (pixels between the fields of neighbouring units) and `start` (first
        pixel of the field of unit 0; negative inside the zero padding).

    Raises:
        ParameterError: a layer whose field is not known, or a window that is dilated or not square.
    """
    size, step, start, rows = 1, 1, 0, []
    for index, layer in enumerate(model):
        if isinstance(layer, _POINTWISE):
            continue
        if not isinstance(layer, _WINDOWS):
            raise ParameterError(
                f"The receptive field of {type(layer).__name__} is not known; expected convolutions, poolings and "
                "functions number by number."
            )
        kernel, stride, padding, dilation = (
            _one(getattr(layer, name, 1), name) for name in ("kernel_size", "stride", "padding", "dilation")
        )
        if dilation != 1:
            raise ParameterError(f"The layer is dilated by {dilation}; expected no dilation.")
        size += (kernel - 1) * step
        start -= padding * step
        step *= stride
        rows.append({"index": index, "layer": type(layer).__name__, "kernel": kernel, "stride": stride,
                     "size": size, "step": step, "start": start})  # fmt: skip
    return rows


def receptive_field(model: nn.Sequential, layer: int, image: tuple[int, int, int]) -> Tensor:
    """Return which pixels the middle unit of layer `layer` depends on, found by its gradient.

    A single gradient misses pixels, because maxima pass it to one input and ReLU stops it. So the
    gradient is taken in a copy with the same connections in which nothing can vanish: all weights
    are one, maxima are means, and functions number by number are left out.

    Args:
        model: layers in a row.
        layer: index of the layer, from 0.
        image: (channels, height, width) of the input.

    Returns:
        bool (height, width).

    Raises:
        ParameterError: there is no such layer.
    """
    part = _upto(model, layer)
    connections = nn.Sequential(*(_linear_copy(m) for m in part)).double()
    x = torch.zeros(1, *image, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(_middle(connections(x)).sum(), x)
    return gradient[0].abs().sum(0) > 0


def sensitivity(model: nn.Sequential, layer: int, images: Tensor, seed: int = 0) -> Tensor:
    """Return how strongly the middle units of layer `layer` depend on each pixel: the effective field.

    It is the root mean square, over images, of the gradient of the layer's middle units (all their
    channels together) with respect to a pixel. All channels cost one backward pass: their gradients
    are added with random signs, which leaves the expected square of the sum equal to the sum of squares
    (Luo and others, "Understanding the effective receptive field in deep convolutional neural
    networks", 2016, take the gradient in the same way).

    Args:
        model: layers in a row, in evaluation mode.
        layer: index of the layer, from 0.
        images: float (N, C, H, W), normalised as the network expects.
        seed: draws the signs.

    Returns:
        float (H, W), with 1 for the greatest value (all zero where the units depend on nothing).

    Raises:
        ParameterError: there is no such layer.
    """
    part = _upto(model, layer)
    x = images.detach().clone().requires_grad_(True)
    units = _middle(part(x))
    generator = torch.Generator().manual_seed(seed)
    signs = torch.randint(2, units.shape, generator=generator).to(units) * 2 - 1
    (gradient,) = torch.autograd.grad((units * signs).sum(), x)
    power = gradient.square().sum(1).mean(0).sqrt()
    return power / power.max().clamp_min(torch.finfo(power.dtype).tiny)


def width_holding(sensitivity_map: Tensor, share: float = 0.9) -> int:
    """Return the width of the smallest square, around the centre of mass, that holds `share` of the squared map.

    Args:
        sensitivity_map: (H, W), from `sensitivity`.
        share: between 0 and 1.

    Raises:
        ParameterError: `share` is not between 0 and 1, or the map is zero.
    """
    weight = sensitivity_map.double().square().cpu()
    if not 0 < share < 1:
        raise ParameterError(f"share is {share}; expected a number between 0 and 1.")
    if not weight.sum() > 0:
        raise ParameterError("The map is zero everywhere, so no square holds a share of it.")
    weight = weight / weight.sum()
    rows, columns = (torch.arange(n, dtype=torch.float64) for n in weight.shape)
    row, column = (weight.sum(1) @ rows), (weight.sum(0) @ columns)
    reach = torch.maximum((rows - row).abs()[:, None], (columns - column).abs()[None])
    order = reach.flatten().argsort()
    held = weight.flatten()[order].cumsum(0)
    last = int((held < share).sum())
    return round(2 * float(reach.flatten()[order][last])) + 1


def _one(value: int | tuple[int, int], name: str) -> int:
    if isinstance(value, int):
        return value
    if len(set(value)) != 1:
        raise ParameterError(f"{name} is {value}; expected a square window.")
    return value[0]


def _upto(model: nn.Sequential, layer: int) -> nn.Sequential:
    if not 0 <= layer < len(model):
        raise ParameterError(f"layer is {layer}; expected 0 to {len(model) - 1}.")
    return nn.Sequential(*list(model)[: layer + 1])


def _middle(units: Tensor) -> Tensor:
    """Return the channels of the unit in the middle of a map, or all units of a vector."""
    return units if units.dim() == 2 else units[:, :, units.shape[2] // 2, units.shape[3] // 2]


def _linear_copy(layer: nn.Module) -> nn.Module:
    if isinstance(layer, nn.MaxPool2d):
        return nn.AvgPool2d(layer.kernel_size, layer.stride, layer.padding)
    if isinstance(layer, _POINTWISE):
        return nn.Identity()
    copy = deepcopy(layer).cpu()
    for parameter in copy.parameters():
        nn.init.ones_(parameter)
    return copy
