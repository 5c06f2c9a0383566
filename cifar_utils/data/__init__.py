"""Data sets as tensors on a device, ways to prepare and augment them, and batches of them."""

from .augment import ColourJitter, CutMix, Cutout, Flip, GaussianNoise, Mixup, Rotation, Transform, rotate, soft
from .batches import Batches, edges, training_batches
from .prepare import AverageImage, ContrastNormalise, Scale, Standardise, Whitening, as_floats, covariance, spectrum
from .sets import CIFAR10_CLASSES, Dataset, Split, channel_stats, load, stratified_split

__all__ = [
    "CIFAR10_CLASSES", "AverageImage", "Batches", "ColourJitter", "ContrastNormalise", "CutMix", "Cutout", "Dataset",
    "Flip", "GaussianNoise", "Mixup", "Rotation", "Scale", "Split", "Standardise", "Transform", "Whitening",
    "as_floats", "channel_stats", "covariance", "edges", "load", "rotate", "soft", "spectrum", "stratified_split",
    "training_batches",
]  # fmt: skip
