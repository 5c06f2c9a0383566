"""One call gives a data set as tensors on a device, with its class names and its provenance."""

from __future__ import annotations

import gzip
import os
import pickle
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from . import standin as stand_in
from ..device import float64_device, pick_device
from ..errors import DataError, ParameterError
from ..files.sources import FILES, digit_images, form_of, in_one_sentence, locate, verified

CIFAR10_CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
DIGITS = tuple("0123456789")
OCR_LETTERS = tuple("aegilnortu")


@dataclass(frozen=True)
class Split:
    """Examples and labels of one split.

    Attributes:
        x: uint8 images (N, C, H, W) in 0..255, or float32 points (N, D).
        y: int64 labels (N,).
    """

    x: Tensor
    y: Tensor

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, index) -> Split:
        return Split(self.x[index], self.y[index])

    def to(self, device) -> Split:
        """Return the split on `device`."""
        return Split(self.x.to(device), self.y.to(device))


@dataclass(frozen=True)
class Dataset:
    """A data set whose splits lie on one device.

    Attributes:
        name: what was asked for, such as `cifar10`.
        train, val, test: the splits; `val` or `test` is None where the set has no such part.
        classes: class names, in the order of the labels.
        provenance: what it is, where it came from and the sums verified; JSON-ready, and stored with
            every result. `provenance["sample"]` is True for the embedded stand-in.
    """

    name: str
    train: Split
    val: Split | None
    test: Split | None
    classes: tuple[str, ...]
    provenance: dict = field(repr=False)

    @property
    def is_sample(self) -> bool:
        """Whether this is the embedded stand-in rather than the data set named."""
        return self.provenance["sample"]

    def to(self, device) -> Dataset:
        """Return the data set with every split on `device`."""
        move = {k: s.to(device) for k in ("train", "val", "test") if (s := getattr(self, k)) is not None}
        return replace(self, **move)


def load(
    name: str,
    *,
    data: str = "real",
    device: str | torch.device = "cpu",
    data_dir: str | os.PathLike | None = None,
    validation: int | None = None,
    train_images: int | None = None,
    split_seed: int = 0,
    download: bool = True,
) -> Dataset:
    """Load a data set onto a device.

    Args:
        name: `cifar10`, `mnist`, `ocr_letters`, `gurmukhi_digits` or `circles`.
        data: `real`, or `sample` for the embedded stand-in (never chosen by itself).
        device: where the tensors go.
        data_dir: the folder to look in; otherwise `$CIFAR_UTILS_DATA`, then `./data`, then a
            download whose sums are verified. It may also be the set's own folder, such as `cifar-10-batches-py`.
        validation: examples split off the training set, stratified by class. Default: 5,000 for
            cifar10 and mnist, none for the others, which bring their own held-out part.
        train_images: keep only so many training examples (stratified), for scaled-down runs.
        split_seed: seeds both choices, independently of the training seeds.
        download: whether a missing set may be fetched.

    Raises:
        DataError: unknown name; missing or damaged file.
        ParameterError: unknown `data`, or a split larger than the set.
    """
    if name not in FILES:
        raise DataError(f"There is no data set called {name!r}; expected one of {', '.join(FILES)}.")
    if data not in ("real", "sample"):
        raise ParameterError(f"data is {data!r}; expected 'real' or 'sample'.")
    device = pick_device(device)
    if data == "sample":
        dataset = _sample(name)
    else:
        folder = locate(name, data_dir, download)
        with in_one_sentence(name):
            train, val, test, classes = _READERS[name](folder)
        dataset = Dataset(name, train, val, test, classes, _provenance(name, folder))
    if validation is None:
        validation = 5000 if dataset.val is None and name in ("cifar10", "mnist") else 0
    if validation:
        kept, held = stratified_split(dataset.train.y, validation, split_seed)
        dataset = replace(dataset, train=dataset.train[kept], val=dataset.train[held])
    if train_images is not None and train_images < len(dataset.train):
        _, kept = stratified_split(dataset.train.y, train_images, split_seed + 1)
        dataset = replace(dataset, train=dataset.train[kept])
    sizes = {k: len(s) for k in ("train", "val", "test") if (s := getattr(dataset, k)) is not None}
    dataset.provenance.update(sizes=sizes, split_seed=split_seed)
    return dataset.to(device)


def stratified_split(labels: Tensor, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Split indices in two so that the second part has `count` of them, classes in equal proportion.

    Args:
        labels: int64 (N,).
        count: size of the second part, 0 < count < N.
        seed: the same seed gives the same split.

    Returns:
        Two sorted int64 index tensors, of N - count and count elements.

    Raises:
        ParameterError: `count` is out of range, or a class would be missing from a part.
    """
    from sklearn.model_selection import train_test_split

    labels = labels.cpu()
    if not 0 < count < len(labels):
        raise ParameterError(f"Cannot split {count} examples off {len(labels)}; expected between 1 and "
                             f"{len(labels) - 1}.")  # fmt: skip
    try:
        first, second = train_test_split(
            np.arange(len(labels)), test_size=count, stratify=labels.numpy(), random_state=seed
        )
    except ValueError as error:
        raise ParameterError(f"A part of the split would have an empty class: {error}") from None
    return torch.from_numpy(np.sort(first)), torch.from_numpy(np.sort(second))


def channel_stats(split: Split) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation per channel of uint8 images, float32 (C,), in units of 1/255."""
    x = split.x.to(float64_device(split.x.device))
    count = x.numel() / x.shape[1]
    # Sums per channel in float64 by histogram: exact, and no float copy of the whole set.
    values = torch.arange(256, dtype=torch.float64, device=x.device)
    counts = torch.stack([torch.bincount(x[:, c].flatten(), minlength=256) for c in range(x.shape[1])])
    mean = counts.double() @ values / count
    std = (counts.double() @ values**2 / count - mean**2).sqrt()
    return tuple((v / 255).float().to(split.x.device) for v in (mean, std))


def _provenance(name: str, folder: Path) -> dict:
    return {"name": name, "sample": False, "source": "verified files", "md5": verified(name, folder)}


def _sample(name: str) -> Dataset:
    provenance = {"name": name, "sample": True, "source": "embedded sample data", "md5": {}}
    as_split = lambda x, y: Split(torch.from_numpy(x), torch.from_numpy(y))  # noqa: E731
    if name == "cifar10":
        parts = [as_split(*stand_in.shapes(n, seed=i)) for i, n in enumerate(stand_in.SIZES)]
        return Dataset(name, *parts, stand_in.CLASSES, provenance)
    if name == "circles":
        train, test = (as_split(*stand_in.circles(200, seed)) for seed in (0, 1))
        return Dataset(name, train, None, test, ("inner", "outer"), provenance)
    everything = as_split(*stand_in.digits())
    rest, test = stratified_split(everything.y, 300, seed=0)
    train, val = stratified_split(everything.y[rest], 200, seed=0)
    parts = everything[rest[train]], everything[rest[val]], everything[test]
    return Dataset(name, *parts, DIGITS, provenance)


def _read_cifar10(folder: Path):
    def batch(name: str) -> Split:
        # Unpickling runs code; these bytes are the ones whose sums were just verified.
        with open(folder / "cifar-10-batches-py" / name, "rb") as f:
            raw = pickle.load(f, encoding="latin1")
        return Split(torch.from_numpy(raw["data"].reshape(-1, 3, 32, 32)), torch.tensor(raw["labels"]))

    parts = [batch(f"data_batch_{i}") for i in range(1, 6)]
    train = Split(torch.cat([p.x for p in parts]), torch.cat([p.y for p in parts]))
    return train, None, batch("test_batch"), CIFAR10_CLASSES


def _read_mnist(folder: Path):
    def idx(name: str, header: int) -> np.ndarray:
        path, _ = form_of("mnist", f"MNIST/raw/{name}", folder)
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        return np.frombuffer(raw, np.uint8, offset=header).copy()

    def part(name: str) -> Split:
        x = torch.from_numpy(idx(f"{name}-images-idx3-ubyte.gz", 16)).view(-1, 1, 28, 28)
        return Split(x, torch.from_numpy(idx(f"{name}-labels-idx1-ubyte.gz", 8)).long())

    return part("train"), None, part("t10k"), DIGITS


def _read_ocr_letters(folder: Path):
    def part(name: str) -> Split:
        table = torch.from_numpy(np.loadtxt(folder / "ocr_letters" / name, delimiter=",", dtype=np.uint8))
        return Split(table[:, 1:].reshape(-1, 1, 16, 8) * 255, table[:, 0].long())

    return part("largeTrain.csv"), part("largeValidation.csv"), None, OCR_LETTERS


def _read_gurmukhi(folder: Path):
    from PIL import Image

    def part(name: str) -> Split:
        files = [p for p in digit_images(folder / "gurmukhi_digits") if p.parent.parent.name == name]
        images = [np.asarray(Image.open(p).convert("L")) for p in files]
        for path, image in zip(files, images, strict=True):
            if image.shape != (32, 32):
                raise DataError(f"{path} is {image.shape[1]}x{image.shape[0]} pixels; expected 32x32.")
        labels = torch.tensor([int(p.parent.name) for p in files])
        return Split(torch.from_numpy(np.stack(images))[:, None], labels)

    return part("train"), part("val"), None, DIGITS


def _read_circles(folder: Path):
    from scipy.io import loadmat

    raw = loadmat(folder / "circles" / "circles.mat")

    def part(name: str) -> Split:
        x = torch.from_numpy(raw[f"X{name}"].astype(np.float32))
        return Split(x, torch.from_numpy(raw[f"Y{name}"].argmax(1).astype(np.int64)))

    return part("train"), None, part("test"), ("class 0", "class 1")


_READERS = {
    "cifar10": _read_cifar10,
    "mnist": _read_mnist,
    "ocr_letters": _read_ocr_letters,
    "gurmukhi_digits": _read_gurmukhi,
    "circles": _read_circles,
}
