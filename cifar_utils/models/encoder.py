"""The encoder of the A1 report, question 2.1, at any width, and the classifier that goes on top."""

from __future__ import annotations

from torch import Tensor, nn

from ..errors import ParameterError

#: Convolutions in each group of the report's table, and their channels as multiples of the width.
GROUPS = ((2, 1), (2, 2), (3, 4), (3, 8), (4, 8))


class Encoder(nn.Module):
    """Fourteen 3x3 convolutions in five groups, then two linear layers: an image becomes a vector.

    Every convolution keeps the size and is followed by batch normalisation and ReLU, every group by 2x2 max
    pooling. With `width=64`, `dim=64` and 3x32x32 images it is the report's table: 64, 128, 256, 512 and 512
    channels, 512 values after the last pooling, then 512-256-64 with dropout in between.

    Args:
        width: channels of the first group; the others have 2, 4, 8 and 8 times as many.
        dim: length of the embedding.
        image: (channels, height, width) of the inputs.
        dropout: probability that one of the hidden layer's units is dropped in training.
        last: convolutions of the last group; the code published for the report has 3, its table 4.

    Attributes:
        body: the convolutions.
        head: the linear layers.

    Raises:
        ParameterError: a width or length below 1, a probability outside [0, 1), or images too small.
    """

    def __init__(
        self, width: int = 64, dim: int = 64, image: tuple[int, int, int] = (3, 32, 32), dropout: float = 0.5,
        last: int = GROUPS[-1][0],
    ):  # fmt: skip
        super().__init__()
        channels, height, across = image
        if width < 1 or dim < 1:
            raise ParameterError(f"width is {width} and dim is {dim}; expected 1 or more of both.")
        if not 0 <= dropout < 1:
            raise ParameterError(f"dropout is {dropout}; expected a probability of 0 or more and less than 1.")
        if min(height, across) < 2 ** len(GROUPS):
            raise ParameterError(
                f"Images of {height}x{across} are too small for five 2x2 poolings; expected 32x32 or more."
            )
        self.width, self.dim = width, dim
        layers: list[nn.Module] = []
        for count, multiple in (*GROUPS[:-1], (last, GROUPS[-1][1])):
            for _ in range(count):
                layers += [nn.Conv2d(channels, multiple * width, 3, padding="same"),
                           nn.BatchNorm2d(multiple * width), nn.ReLU(inplace=True)]  # fmt: skip
                channels = multiple * width
            layers.append(nn.MaxPool2d(2))
        flat = channels * (height // 32) * (across // 32)
        self.body = nn.Sequential(*layers, nn.Flatten())
        self.head = nn.Sequential(
            nn.Linear(flat, 4 * width), nn.ReLU(inplace=True), nn.Dropout(dropout), nn.Linear(4 * width, dim)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return embeddings (B, dim) of images (B, C, H, W)."""
        return self.head(self.body(x))


class NetworkB(nn.Module):
    """An encoder with one linear layer on its embedding: "Network B" of the report, question 2.5.

    Args:
        encoder: gives embeddings (B, encoder.dim).
        classes: number of scores.
        frozen: keep the encoder as it is, in evaluation mode even while the classifier trains.
        hidden: units of a hidden ReLU layer between embedding and scores; 0 for none, as in the report's table.
        always_training: stay in training mode when told to evaluate, as in the code published for the report.

    Attributes:
        always_training: may be set to False afterwards, to measure the same weights in evaluation mode.
    """

    def __init__(
        self, encoder: Encoder, classes: int = 10, *, frozen: bool = False, hidden: int = 0,
        always_training: bool = False,
    ):  # fmt: skip
        super().__init__()
        self.encoder, self.frozen, self.always_training = encoder, frozen, always_training
        between = [nn.Linear(encoder.dim, hidden), nn.ReLU()] if hidden else []
        self.classifier = nn.Sequential(*between, nn.Linear(hidden or encoder.dim, classes))
        encoder.requires_grad_(not frozen)

    def train(self, mode: bool = True) -> NetworkB:
        """Switch to training mode; a frozen encoder stays in evaluation mode."""
        super().train(mode or self.always_training)
        if self.frozen:
            self.encoder.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        """Return scores (B, classes), before the softmax, of images (B, C, H, W)."""
        return self.classifier(self.encoder(x))


class AlwaysTraining(nn.Module):
    """A network that stays in training mode when told to evaluate, dropout and all.

    Its running means go on moving, too; give it a copy where they matter.

    Args:
        network: what is called.
    """

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network.train()

    def train(self, mode: bool = True) -> AlwaysTraining:
        """Stay in training mode."""
        return super().train()

    def forward(self, x: Tensor) -> Tensor:
        """Return what the network returns."""
        return self.network(x)
