"""A small network that is trained fast: whitened patches, then three pairs of convolutions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import ParameterError


class WhitenedPatches(nn.Module):
    """Patches of an image as coordinates along their principal axes, and the same with the other sign.

    The filters are a fact about the images and not learned: after `fit_to` the outputs have the variance one and no
    correlation. Both signs are there because a rectifier that follows keeps one of them.

    Args:
        channels: of the images.
        side: pixels of a patch to a side.
        bias: learn one number for every output.
    """

    weight: Tensor

    def __init__(self, channels: int = 3, side: int = 2, bias: bool = True):
        super().__init__()
        axes = channels * side**2
        self.side = side
        self.register_buffer("weight", torch.zeros(2 * axes, channels, side, side))
        self.bias = nn.Parameter(torch.zeros(2 * axes)) if bias else None

    @torch.no_grad()
    def fit_to(self, images: Tensor, epsilon: float = 5e-4) -> None:
        """Take the axes of these images' patches.

        Args:
            images: (N, C, H, W), float32, standardised as the network will see them.
            epsilon: added to every variance, so that axes without any are not blown up.
        """
        patches = F.unfold(images, self.side).transpose(1, 2).flatten(0, 1)  # (patches, C * side * side)
        variances, axes = torch.linalg.eigh((patches.T @ patches).double() / len(patches))
        filters = (axes / (variances + epsilon).sqrt()).T.float().view(len(variances), -1, self.side, self.side)
        self.weight.copy_(torch.cat([filters, -filters]))

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, 2 C side², H - side + 1, W - side + 1)."""
        return F.conv2d(x, self.weight, self.bias)


class FastNet(nn.Sequential):
    """Whitened patches, then pairs of 3x3 convolutions that halve the image, its largest values, and one linear map.

    After Jordan (2024, "94% on CIFAR-10 in 3.29 seconds on a single GPU"), which goes back to Page (2019, "How to
    train your ResNet"): convolutions begin as far as they can as the identity, normalisation learns its shift and no
    scale, and scores are divided, so that they begin small.

    Args:
        classes: number of scores.
        widths: channels of each pair.
        whiten: whether the first layer is `WhitenedPatches`; otherwise a learned one of the same shape.
        identity: whether convolutions begin as the identity.
        momentum: share of a batch in the running mean and variance.
        divide: what scores are divided by, whose weights then begin with the deviation one; None for a last layer
            that begins as PyTorch's own, and scores as they are.

    Raises:
        ParameterError: no widths, or one less than 1.
    """

    def __init__(
        self,
        classes: int = 10,
        widths: Sequence[int] = (64, 256, 256),
        *,
        whiten: bool = True,
        identity: bool = True,
        momentum: float = 0.4,
        divide: float | None = 256.0,
    ):
        if not widths or min(widths) < 1:
            raise ParameterError(f"widths is {tuple(widths)}; expected one number of 1 or more for each pair.")
        first: nn.Module = WhitenedPatches() if whiten else nn.Conv2d(3, 24, 2)
        layers, channels = [first, nn.GELU()], 24
        for width in widths:
            layers.append(_pair(channels, width, identity, momentum))
            channels = width
        head = nn.Linear(channels, classes, bias=False)
        if divide is not None:
            with torch.no_grad():
                head.weight /= head.weight.std()
        super().__init__(*layers, nn.AdaptiveMaxPool2d(1), nn.Flatten(), head)
        self.divide = divide or 1.0

    def forward(self, x: Tensor) -> Tensor:
        """Return scores (B, classes), before the softmax, of images (B, 3, H, W) of 17 pixels to a side or more."""
        return super().forward(x) / self.divide


def _pair(channels: int, width: int, identity: bool, momentum: float) -> nn.Sequential:
    def convolution(inputs: int) -> nn.Conv2d:
        layer = nn.Conv2d(inputs, width, 3, padding=1, bias=False)
        if identity:
            nn.init.dirac_(layer.weight.data[:inputs])
        return layer

    def norm() -> nn.BatchNorm2d:
        layer = nn.BatchNorm2d(width, eps=1e-12, momentum=momentum)
        layer.weight.requires_grad_(False)
        return layer

    return nn.Sequential(
        convolution(channels), nn.MaxPool2d(2), norm(), nn.GELU(), convolution(width), norm(), nn.GELU()
    )
