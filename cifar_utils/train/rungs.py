"""Recipes of CIFAR-10 networks from 39 % upwards, which several chapters compare."""

from ..models.deep import Setting
from .recipe import SGD, Adam, Part, Recipe

#: Mean and standard deviation of the channels in RDFIA's code, of pixels from 0 to 1.
RDFIA_MEAN, RDFIA_STD = (0.491, 0.482, 0.447), (0.202, 0.199, 0.201)


def softmax_on_pixels(epochs: int = 15, images: int | None = None) -> Recipe:
    """Return softmax regression on standardised pixels."""
    return Recipe(
        "cifar10",
        Part("softmax"),
        SGD(0.003, momentum=0.9),
        batch=256,
        epochs=epochs,
        images=images,
        prepare=Part("channels"),
        augment=(Part("flip"),),
        schedule=Part("cosine"),
    )


def fully_connected(epochs: int = 10, images: int | None = None, validation: int | None = 10_000) -> Recipe:
    """Return the six fully connected layers with ReLU that HW3 begins with."""
    return Recipe(
        "cifar10",
        Part("deep", **vars(Setting("relu"))),
        Adam(1e-3),
        epochs=epochs,
        images=images,
        validation=validation,
        prepare=Part("-1..1"),
        loop=Part("deep stack", measured_steps=20),
        final=("val", "test"),
    )


def rdfia_figure_16(epochs: int = 40, images: int | None = None) -> Recipe:
    """Return RDFIA's network with all of its improvements, as in its figure 16, where the reports end."""
    return Recipe(
        "cifar10",
        Part("rdfia on windows", side=28, dropout=0.5, batch_norm=True),
        SGD(0.1),
        epochs=epochs,
        images=images,
        validation=0,
        prepare=Part("channels"),
        augment=(Part("flip"),),
        draw=Part("standardised by", mean=RDFIA_MEAN, std=RDFIA_STD),
        schedule=Part("exponential", gamma=0.95),
        evaluate=("train:5000", "test"),
        final=("train:5000", "test"),
    )


def fast_network(
    epochs: int = 8,
    images: int | None = None,
    widths: tuple[int, ...] = (64, 256, 256),
    batch: int = 2000,
    sides: tuple[int, ...] = (),
) -> Recipe:
    """Return the fast network of Jordan (2024) as airbench94_muon.py trains it.

    The published rates of the last layer and of biases, 0.67 and 0.053, are for a loss summed over 2,000 images; ours
    is a mean.

    Args:
        widths: channels of the three pairs of convolutions.
        sides: pixels to a side in the first epochs, where these are to be smaller; not published.
    """
    return Recipe(
        "cifar10",
        Part("fast", widths=tuple(widths), whiten=True, identity=True, divide=256.0),
        Part("Muon", lr=0.24, matrix_lr=1340.0, bias_lr=106.0, weight_decay=0.004),
        batch=batch,
        epochs=epochs,
        images=images,
        validation=0,
        prepare=Part("channels"),
        draw=Part("alternating", shift=2, flips="alternating", **({"sides": tuple(sides)} if sides else {})),
        loss=Part("cross-entropy", smoothing=0.2),
        schedule=Part("linear"),
        start=Part("whitened patches"),
        evaluate=(),
        final=("test",),
    )
