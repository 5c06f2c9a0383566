"""What people call the test images of CIFAR-10, in the same order: CIFAR-10H.

Peterson, Battleday, Griffiths and Russakovsky (2019, "Human uncertainty makes classification more robust") asked
about fifty people for each image. Their labels are under the licence CC BY-NC-SA 4.0.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..errors import DataError, ParameterError
from ..files.catalogue import LABELS
from ..files.sources import in_one_sentence, locate, verified
from . import standin

#: Judgements of an image in CIFAR-10H, about.
ABOUT = 51


@dataclass(frozen=True)
class HumanLabels:
    """How people label the images of a test set.

    Attributes:
        shares: float64 (images, classes), the share of people who chose each class; a row sums to one.
        provenance: as that of a `Dataset`; JSON-ready. `provenance["sample"]` is True for the stand-in.
    """

    shares: np.ndarray
    provenance: dict = field(repr=False)

    @property
    def is_sample(self) -> bool:
        """Whether this is the embedded stand-in, which no person has seen."""
        return self.provenance["sample"]


def load(
    name: str = "cifar-10h",
    *,
    data: str = "real",
    data_dir: str | os.PathLike | None = None,
    download: bool = True,
) -> HumanLabels:
    """Load what people call the images of a test set.

    Args:
        name: `cifar-10h`, of the test set of `load("cifar10")`.
        data: `real`, or `sample` for a stand-in that belongs to the sample data of `cifar10`.
        data_dir: the folder to look in; otherwise `$CIFAR_UTILS_DATA`, then `./data`, then a download.
        download: whether a missing file may be fetched.

    Raises:
        DataError: unknown name; a missing or damaged file; a file that holds something else.
        ParameterError: unknown `data`.
    """
    if name not in LABELS:
        raise DataError(f"There are no labels called {name!r}; expected one of {', '.join(LABELS)}.")
    if data not in ("real", "sample"):
        raise ParameterError(f"data is {data!r}; expected 'real' or 'sample'.")
    if data == "sample":
        shares = _sample()
        provenance = {"name": name, "sample": True, "source": "embedded sample data", "md5": {}}
    else:
        folder = locate(name, data_dir, download)
        with in_one_sentence(name):
            shares = read(folder / next(iter(LABELS[name].files)))
        provenance = {"name": name, "sample": False, "source": "verified files", "md5": verified(name, folder)}
    return HumanLabels(shares, provenance | {"sizes": {"test": len(shares)}})


def read(path: Path) -> np.ndarray:
    """Return the shares in a file of NumPy's format, float64 (images, 10).

    Raises:
        DataError: it holds no shares of ten classes.
    """
    try:
        shares = np.load(path, allow_pickle=False)
    except ValueError as error:
        raise DataError(f"{path} cannot be read ({error}); expected an array in NumPy's format.") from None
    if shares.ndim != 2 or shares.shape[1] != 10 or shares.dtype.kind != "f":
        found = f"{shares.dtype} of shape {shares.shape}"
        raise DataError(f"{path} holds {found}; expected shares of ten classes, float64 (images, 10).")
    if not (shares >= 0).all() or not np.allclose(shares.sum(1), 1):
        raise DataError(f"{path} holds rows that are no shares; expected numbers of 0 or more that sum to one.")
    return shares.astype(np.float64)


def smallest_counts(shares: np.ndarray, most: int = 100) -> np.ndarray:
    """Return the smallest numbers of judgements that give shares exactly, int64 (N,): 20 for 0.95 and 0.05.

    Args:
        shares: float64 (N, classes).
        most: the largest number that is tried; 0 where it is not enough.
    """
    found = np.zeros(len(shares), dtype=np.int64)
    for count in range(most, 0, -1):
        votes = shares * count
        found[np.abs(votes - votes.round()).max(1) < 1e-6] = count
    return found


def votes(shares: np.ndarray, about: int = ABOUT) -> np.ndarray:
    """Return judgements that give shares, int64 (N, classes): of each image the number nearest to `about` that does.

    Where people disagree this is nearly always the true number, a multiple of the smallest one; where all agree any
    number gives the same shares.
    """
    least = np.maximum(smallest_counts(shares), 1)
    count = least * np.maximum((about / least).round(), 1)
    return (shares * count[:, None]).round().astype(np.int64)


def halves(counts: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the shares of two halves of the people, float64 (N, classes) each, drawn at random for every image.

    Args:
        counts: judgements, int64 (N, classes), two or more for every image.
        seed: of the draw.
    """
    rng, sizes = np.random.default_rng(seed), counts.sum(1)
    if sizes.min() < 2:
        raise ParameterError(f"An image has {sizes.min()} judgements; expected 2 or more, to make two halves.")
    first = rng.multivariate_hypergeometric
    one = np.stack([first(row, size // 2) for row, size in zip(counts, sizes, strict=True)])
    rest = counts - one
    return one / one.sum(1, keepdims=True), rest / rest.sum(1, keepdims=True)


def _sample() -> np.ndarray:
    """Return fifty invented judgements of each test image of the sample data, as shares; no person has seen them."""
    labels = standin.shapes(standin.SIZES[2], seed=2)[1]
    rng, classes = np.random.default_rng(0), len(standin.CLASSES)
    doubt = np.where(rng.random(len(labels)) < 0.4, 0.0, rng.beta(0.5, 1.4, len(labels)))
    told = np.zeros((len(labels), classes))
    rows = np.arange(len(labels))
    told[rows, labels] = 1 - doubt
    told[rows, (labels + 1) % classes] += 0.7 * doubt  # taken for the next class most often
    told[rows, (labels + 3) % classes] += 0.3 * doubt
    return np.stack([rng.multinomial(50, row) for row in told]) / 50
