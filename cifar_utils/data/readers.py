"""How each data set's files become tensors, and what stands in for it where there is no data."""

from __future__ import annotations

import gzip
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ..errors import DataError
from ..files.sources import digit_images, form_of
from . import standin
from .splits import Split, stratified_split

#: Training, validation and test examples; None where a set has no such part.
Splits = tuple[Split, Split | None, Split | None]

CIFAR10_CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
DIGITS = tuple("0123456789")
OCR_LETTERS = tuple("aegilnortu")


def _tensors(arrays: tuple[np.ndarray, np.ndarray]) -> Split:
    return Split(torch.from_numpy(arrays[0]), torch.from_numpy(arrays[1]))


def _shapes() -> Splits:
    train, val, test = (_tensors(standin.shapes(n, seed=i)) for i, n in enumerate(standin.SIZES))
    return train, val, test


def _rings() -> Splits:
    return _tensors(standin.circles(200, seed=0)), None, _tensors(standin.circles(200, seed=1))


def _small_digits() -> Splits:
    everything = _tensors(standin.digits())
    rest, test = stratified_split(everything.y, 300, seed=0)
    train, val = stratified_split(everything.y[rest], 200, seed=0)
    return everything[rest[train]], everything[rest[val]], everything[test]


@dataclass(frozen=True)
class Reader:
    """A data set as tensors; its files stand in `cifar_utils.files.DATASETS` under the same name.

    Attributes:
        read: called with the data folder, whose files have been verified.
        classes: class names, in the order of the labels.
        validation: how many examples are split off the training set where nobody says otherwise.
        sample: makes the stand-in.
        sample_classes: class names of the stand-in.
    """

    read: Callable[[Path], Splits]
    classes: tuple[str, ...]
    validation: int = 0
    sample: Callable[[], Splits] = _small_digits
    sample_classes: tuple[str, ...] = DIGITS


def _cifar10(folder: Path) -> Splits:
    def batch(name: str) -> Split:
        # Unpickling runs code; these bytes are the ones whose sums were just verified.
        with open(folder / "cifar-10-batches-py" / name, "rb") as f:
            raw = pickle.load(f, encoding="latin1")
        return Split(torch.from_numpy(raw["data"].reshape(-1, 3, 32, 32)), torch.tensor(raw["labels"]))

    parts = [batch(f"data_batch_{i}") for i in range(1, 6)]
    train = Split(torch.cat([p.x for p in parts]), torch.cat([p.y for p in parts]))
    return train, None, batch("test_batch")


def _mnist(folder: Path) -> Splits:
    def idx(name: str, header: int) -> np.ndarray:
        path, _ = form_of("mnist", f"MNIST/raw/{name}", folder)
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        return np.frombuffer(raw, np.uint8, offset=header).copy()

    def part(name: str) -> Split:
        x = torch.from_numpy(idx(f"{name}-images-idx3-ubyte.gz", 16)).view(-1, 1, 28, 28)
        return Split(x, torch.from_numpy(idx(f"{name}-labels-idx1-ubyte.gz", 8)).long())

    return part("train"), None, part("t10k")


def _ocr_letters(folder: Path) -> Splits:
    def part(name: str) -> Split:
        table = torch.from_numpy(np.loadtxt(folder / "ocr_letters" / name, delimiter=",", dtype=np.uint8))
        return Split(table[:, 1:].reshape(-1, 1, 16, 8) * 255, table[:, 0].long())

    return part("largeTrain.csv"), part("largeValidation.csv"), None


def _gurmukhi(folder: Path) -> Splits:
    from PIL import Image

    def part(name: str) -> Split:
        files = [p for p in digit_images(folder / "gurmukhi_digits") if p.parent.parent.name == name]
        images = [np.asarray(Image.open(p).convert("L")) for p in files]
        for path, image in zip(files, images, strict=True):
            if image.shape != (32, 32):
                raise DataError(f"{path} is {image.shape[1]}x{image.shape[0]} pixels; expected 32x32.")
        labels = torch.tensor([int(p.parent.name) for p in files])
        return Split(torch.from_numpy(np.stack(images))[:, None], labels)

    return part("train"), part("val"), None


def _circles(folder: Path) -> Splits:
    from scipy.io import loadmat

    raw = loadmat(folder / "circles" / "circles.mat")

    def part(name: str) -> Split:
        x = torch.from_numpy(raw[f"X{name}"].astype(np.float32))
        return Split(x, torch.from_numpy(raw[f"Y{name}"].argmax(1).astype(np.int64)))

    return part("train"), None, part("test")


#: Every data set, by the name that `load` takes.
#:
#: :meta hide-value:
READERS: dict[str, Reader] = {
    "cifar10": Reader(_cifar10, CIFAR10_CLASSES, 5000, sample=_shapes, sample_classes=standin.CLASSES),
    "mnist": Reader(_mnist, DIGITS, 5000),
    "ocr_letters": Reader(_ocr_letters, OCR_LETTERS),
    "gurmukhi_digits": Reader(_gurmukhi, DIGITS),
    "circles": Reader(_circles, ("class 0", "class 1"), sample=_rings, sample_classes=("inner", "outer")),
}
