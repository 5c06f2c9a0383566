"""Two plain networks of eleven 3x3 convolutions, a VGG and a ResNet in small, to set beside others of their size."""

from __future__ import annotations

from torch import Tensor, nn

from ..errors import ParameterError
from .dynamic import POOLED, WIDTH_FACTORS


class VggLike(nn.Sequential):
    """Eleven 3x3 convolutions with batch normalisation and ReLU in a row, the mean over pixels, a linear classifier.

    Channels are 1, 2, 2, 2, 4, 4, 4, 8, 8, 8 and 8 times `width`, with 2x2 max pooling behind the first, fourth
    and seventh, so that everything but the mixing and the shortcuts of `DynamicNet` is the same
    (after Simonyan and Zisserman, "Very deep convolutional networks", 2015).

    Args:
        classes: number of scores.
        width: channels of the first convolution.

    Raises:
        ParameterError: a width below 1.
    """

    def __init__(self, classes: int = 10, width: int = 64):
        _check(width)
        layers: list[nn.Module] = []
        before = 3
        for i, factor in enumerate(WIDTH_FACTORS, start=1):
            layers += [*_conv(before, factor * width), nn.ReLU(), *([nn.MaxPool2d(2)] if i in POOLED else [])]
            before = factor * width
        super().__init__(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, classes))


class ResNetLike(nn.Sequential):
    """A 3x3 convolution and five residual blocks of two each, the mean over pixels, a linear classifier.

    The blocks have 2, 4, 4, 8 and 8 times `width` channels, with 2x2 max pooling behind the first
    convolution and the first and third block (after He and others, "Deep residual learning for
    image recognition", 2016).

    Args:
        classes: number of scores.
        width: channels of the first convolution.

    Raises:
        ParameterError: a width below 1.
    """

    def __init__(self, classes: int = 10, width: int = 64):
        _check(width)
        layers: list[nn.Module] = [*_conv(3, width), nn.ReLU(), nn.MaxPool2d(2)]
        before = width
        for i, factor in enumerate((2, 4, 4, 8, 8), start=1):
            layers += [ResidualBlock(before, factor * width), *([nn.MaxPool2d(2)] if i in (1, 3) else [])]
            before = factor * width
        super().__init__(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, classes))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions past which the input is added, through a 1x1 convolution where the channels change.

    Args:
        inputs, outputs: channels.
    """

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.convs = nn.Sequential(*_conv(inputs, outputs), nn.ReLU(), *_conv(outputs, outputs))
        self.shortcut: nn.Module = nn.Identity()
        if inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, outputs, H, W) of inputs (B, inputs, H, W)."""
        return (self.convs(x) + self.shortcut(x)).relu()


def _conv(inputs: int, outputs: int) -> list[nn.Module]:
    """A convolution as Kaiming initialises it, and its normalisation."""
    conv = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
    return [conv, nn.BatchNorm2d(outputs)]


def _check(width: int) -> None:
    if width < 1:
        raise ParameterError(f"width is {width}; expected 1 or more channels.")
