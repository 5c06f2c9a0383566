"""A stand-in for the real data that needs no download, so that every notebook runs anywhere.

Ten classes of coloured shapes and textures, drawn by a formula: position, size, tilt, colours and
noise change from image to image, so that a linear classifier does worse than a small multilayer
network, and that one worse than a convolutional one. Nothing here says anything about CIFAR-10.
"""

from __future__ import annotations

import numpy as np

CLASSES = (
    "disk", "ring", "square", "frame", "triangle", "plus", "bar", "stripes", "checks", "two dots",
)  # fmt: skip

#: Images a split, as (train, validation, test).
SIZES = (300, 100, 100)


def shapes(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw `count` labelled images, the ten classes in equal parts and in random order.

    Args:
        count: how many; a multiple of ten gives exactly equal classes.
        seed: the same seed gives the same images.

    Returns:
        Images, uint8 of shape (count, 3, 32, 32), and labels, int64 of shape (count,).
    """
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(count) % len(CLASSES))

    def per_image(low: float, high: float) -> np.ndarray:
        return rng.uniform(low, high, size=(count, 1, 1)).astype(np.float32)

    axis = np.arange(32, dtype=np.float32) - 15.5
    dy, dx = axis[None, :, None] - per_image(-6, 6), axis[None, None, :] - per_image(-6, 6)
    tilt, size = per_image(-0.35, 0.35), per_image(6.0, 10.0)
    u = (np.cos(tilt) * dx + np.sin(tilt) * dy) / size  # the shape's own axes, in units of its radius
    v = (np.cos(tilt) * dy - np.sin(tilt) * dx) / size
    masks = _masks(u, v)
    mask = np.take_along_axis(masks, labels[None, :, None, None], axis=0)[0]

    # a weak hint of the class in the average colour is all that a linear classifier can use
    turn = 2 * np.pi * (labels[:, None] / len(CLASSES) + np.arange(3) / 3)
    tint = 30 * np.cos(turn).astype(np.float32)[:, :, None, None]
    background = tint + rng.uniform(60, 195, size=(count, 3, 1, 1)).astype(np.float32)
    contrast = rng.uniform(45, 90, size=(count, 3, 1, 1)) * rng.choice([-1, 1], size=(count, 1, 1, 1))
    noise = rng.normal(0, 22, size=(count, 3, 32, 32)).astype(np.float32)
    images = background + contrast.astype(np.float32) * mask[:, None] + noise
    return np.clip(images, 0, 255).astype(np.uint8), labels.astype(np.int64)


def _masks(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Return the ten classes' masks, shape (10, count, 32, 32), float32 of zeros and ones."""
    r, box = np.hypot(u, v), np.maximum(abs(u), abs(v))
    triangle = (v < 0.8) & (v > 2.2 * abs(u) - 1.0)
    plus = (box < 1) & (np.minimum(abs(u), abs(v)) < 0.3)
    dots = np.minimum(np.hypot(u - 0.6, v), np.hypot(u + 0.6, v)) < 0.4
    stripes = (box < 1) & (np.sin(9.5 * v) > 0)
    checks = (box < 1) & (np.sin(6.5 * u) * np.sin(6.5 * v) > 0)
    bar = (abs(u) < 1) & (abs(v) < 0.35)
    each = [
        r < 1, (r < 1) & (r > 0.6), box < 0.9, (box < 0.95) & (box > 0.55), triangle, plus,
        bar, stripes, checks, dots,
    ]  # fmt: skip
    return np.stack(each).astype(np.float32)


def digits() -> tuple[np.ndarray, np.ndarray]:
    """Return scikit-learn's bundled 8x8 digits, uint8 (1797, 1, 8, 8) in 0..255, and int64 labels."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    return (np.asarray(x).reshape(-1, 1, 8, 8) * (255 / 16)).astype(np.uint8), np.asarray(y, np.int64)


def circles(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return points of two noisy rings, float32 (count, 2), and int64 labels."""
    from sklearn.datasets import make_circles

    x, y = make_circles(count, noise=0.12, factor=0.5, random_state=seed)
    return np.asarray(x, np.float32), np.asarray(y, np.int64)
