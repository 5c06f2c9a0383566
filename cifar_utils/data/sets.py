"""One call gives a data set as tensors on a device, with its class names and its provenance."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from ..device import pick_device
from ..errors import DataError, ParameterError
from ..files.sources import in_one_sentence, locate, verified
from .readers import CIFAR10_CLASSES, READERS
from .splits import Split, channel_stats, stratified_split

__all__ = ["CIFAR10_CLASSES", "READERS", "Dataset", "Split", "channel_stats", "load", "stratified_split"]


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
        name: `cifar10`, `mnist`, `ocr_letters`, `gurmukhi_digits` or `circles` (the keys of `READERS`).
        data: `real`, or `sample` for the embedded stand-in (never chosen by itself).
        device: where the tensors go.
        data_dir: the folder to look in; otherwise `$CIFAR_UTILS_DATA`, then `./data`, then a
            download whose sums are verified. It may also be the set's own folder, such as `cifar-10-batches-py`.
        validation: examples split off the training set, stratified by class. Default: what the set's
            reader says: 5,000 for cifar10 and mnist, none for the others, which bring their own held-out part.
        train_images: keep only so many training examples (stratified), for scaled-down runs.
        split_seed: seeds both choices, independently of the training seeds.
        download: whether a missing set may be fetched.

    Raises:
        DataError: unknown name; missing or damaged file.
        ParameterError: unknown `data`, or a split larger than the set.
    """
    if name not in READERS:
        raise DataError(f"There is no data set called {name!r}; expected one of {', '.join(READERS)}.")
    if data not in ("real", "sample"):
        raise ParameterError(f"data is {data!r}; expected 'real' or 'sample'.")
    device, reader = pick_device(device), READERS[name]
    if data == "sample":
        dataset = _sample(name)
    else:
        folder = locate(name, data_dir, download)
        with in_one_sentence(name):
            dataset = Dataset(name, *reader.read(folder), reader.classes, _provenance(name, folder))
    if validation is None:
        validation = reader.validation if dataset.val is None else 0
    if validation:
        kept, held = stratified_split(dataset.train.y, validation, split_seed)
        dataset = replace(dataset, train=dataset.train[kept], val=dataset.train[held])
    if train_images is not None and train_images < len(dataset.train):
        _, kept = stratified_split(dataset.train.y, train_images, split_seed + 1)
        dataset = replace(dataset, train=dataset.train[kept])
    sizes = {k: len(s) for k in ("train", "val", "test") if (s := getattr(dataset, k)) is not None}
    dataset.provenance.update(sizes=sizes, split_seed=split_seed)
    return dataset.to(device)


def _provenance(name: str, folder: Path) -> dict:
    return {"name": name, "sample": False, "source": "verified files", "md5": verified(name, folder)}


def _sample(name: str) -> Dataset:
    provenance = {"name": name, "sample": True, "source": "embedded sample data", "md5": {}}
    return Dataset(name, *READERS[name].sample(), READERS[name].sample_classes, provenance)
