"""Convolutional networks."""

from __future__ import annotations

from torch import Tensor, nn

from ..errors import ParameterError


class RdfiaNet(nn.Sequential):
    """The small convolutional network of the RDFIA practical, part 2-cd, questions 8 to 13.

    Three 5x5 convolutions that keep the size (32, 64, 64 channels), each followed by ReLU and 2x2
    max pooling, then fully connected layers of 1000 units and one a class. On 3x32x32 images the
    layers give 32x32x32, 16x16x32, 16x16x64, 8x8x64, 8x8x64, 4x4x64, 1000 and 10 values.

    Args:
        classes: number of scores.
        image: (channels, height, width) of the inputs.
        dropout: probability that a unit of the layer of 1000 is dropped in training (questions 29 to 33).
        batch_norm: normalise after every convolution, before its ReLU (question 34).

    Raises:
        ParameterError: the image is too small for three poolings, or `dropout` is not in [0, 1).
    """

    def __init__(
        self,
        classes: int = 10,
        image: tuple[int, int, int] = (3, 32, 32),
        *,
        dropout: float = 0.0,
        batch_norm: bool = False,
    ):
        channels, height, width = image
        if not 0 <= dropout < 1:
            raise ParameterError(f"dropout is {dropout}; expected a probability of 0 or more and less than 1.")
        if min(height, width) < 8:
            raise ParameterError(
                f"Images of {height}x{width} are too small for three 2x2 poolings; expected 8x8 or more."
            )
        layers: list[nn.Module] = []
        for out in (32, 64, 64):
            norm = [nn.BatchNorm2d(out)] if batch_norm else []
            layers += [nn.Conv2d(channels, out, 5, padding=2), *norm, nn.ReLU(), nn.MaxPool2d(2)]
            channels = out
        flat = channels * (height // 8) * (width // 8)
        layers += [nn.Flatten(), nn.Linear(flat, 1000), nn.ReLU()]
        # a layer that drops nothing is left out, so that the plain network draws the numbers it always drew
        layers += [*([nn.Dropout(dropout)] if dropout else []), nn.Linear(1000, classes)]
        super().__init__(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Return scores (B, classes), before the softmax, of images (B, C, H, W)."""
        return super().forward(x)
