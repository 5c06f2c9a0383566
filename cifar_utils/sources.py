"""Where the files of each data set are looked for, fetched from, and how they are verified."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from .errors import DataError

#: md5 of every file of a data set, by its path below the data folder.
FILES: dict[str, dict[str, str]] = {
    "cifar10": {  # the sums that torchvision.datasets.CIFAR10 verifies
        "cifar-10-batches-py/batches.meta": "5ff9c542aee3614f3951f8cda6e48888",
        "cifar-10-batches-py/data_batch_1": "c99cafc152244af753f735de768cd75f",
        "cifar-10-batches-py/data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
        "cifar-10-batches-py/data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
        "cifar-10-batches-py/data_batch_4": "634d18415352ddfa80567beed471001a",
        "cifar-10-batches-py/data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
        "cifar-10-batches-py/test_batch": "40351d587109b95175f43aff81a1287e",
    },
    "mnist": {  # the sums that torchvision.datasets.MNIST verifies
        "MNIST/raw/train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "MNIST/raw/train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
        "MNIST/raw/t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
        "MNIST/raw/t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
    },
    "ocr_letters": {
        "ocr_letters/largeTrain.csv": "6154765dfc4e355ada8a913e16225dcf",
        "ocr_letters/largeValidation.csv": "ef6f397b2bfc7e0f1aa38cd0b5ba2f8b",
    },
    "circles": {"circles/circles.mat": "61f517bf2431099530761ddfddf3fe6b"},
    # 1,178 small files: one sum over all of them, joined in sorted order of their paths
    "gurmukhi_digits": {"gurmukhi_digits": "bb17802348f3caf5ecba87c9784aa6e6"},
}

GURMUKHI_ARCHIVE = (
    "https://github.com/siddharthapramanik771/Gurmukhi-Handwritten-Digit-Classification/archive/HEAD.zip"
)

#: Where a person gets a data set by hand, for the error message.
HOME_PAGES = {
    "cifar10": "https://www.cs.toronto.edu/~kriz/cifar.html",
    "mnist": "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "ocr_letters": "the handout of CMU 10-601's neural-network homework",
    "circles": "the 2-ab archive of the RDFIA course, https://rdfia.github.io",
    "gurmukhi_digits": GURMUKHI_ARCHIVE,
}


def md5(paths: Iterable[Path]) -> str:
    """Return the hexadecimal md5 of the files' bytes, joined in the order given."""
    digest = hashlib.md5()
    for path in paths:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def sum_of(path: Path) -> str:
    """Return the md5 of a file, or of all files below a folder in sorted order of their paths."""
    if path.is_dir():
        inside = [p for p in path.rglob("*") if p.is_file() and not p.name.startswith(".")]
        return md5(sorted(inside, key=lambda p: p.relative_to(path).as_posix()))
    return md5([path])


def candidates(data_dir: str | os.PathLike | None) -> list[Path]:
    """Return the folders that are searched, in order: the one given, $CIFAR_UTILS_DATA, ./data.

    A folder that is given, or that the variable names, is the only one looked at: falling through
    from a mistyped path to another copy would hide the mistake.
    """
    if data_dir is not None:
        return [Path(data_dir)]
    if os.environ.get("CIFAR_UTILS_DATA"):
        return [Path(os.environ["CIFAR_UTILS_DATA"])]
    from .paths import root

    return list(dict.fromkeys([Path("data"), root() / "data"]))


def locate(name: str, data_dir: str | os.PathLike | None = None, download: bool = True) -> Path:
    """Return a folder that holds every file of data set `name`, each with the expected sum.

    Args:
        name: a key of `FILES`.
        data_dir: the folder to look in, instead of `$CIFAR_UTILS_DATA` or `./data`.
        download: whether to fetch the set from its official place when no folder holds it.

    Raises:
        DataError: the name is unknown, or a file is missing or damaged. The message names the
            file, the expected and the found sum, and the three ways to get it.
    """
    if name not in FILES:
        raise DataError(f"There is no data set called {name!r}; expected one of {', '.join(FILES)}.")
    folders = candidates(data_dir)
    for folder in folders:
        if all((folder / file).exists() for file in FILES[name]):
            _verify(name, folder)
            return folder
    if not download:
        _refuse(name, folders[-1], "is missing")
    return _download(name, folders[-1])


def _verify(name: str, folder: Path) -> None:
    for file, expected in FILES[name].items():
        found = sum_of(folder / file)
        if found != expected:
            _refuse(name, folder, "is damaged", file, found)


def _refuse(
    name: str, folder: Path, what: str, file: str | None = None, found: str = "no file", why: str = ""
) -> None:
    file = file or next(f for f in FILES[name] if not (folder / f).exists())
    raise DataError(
        f"{name}: {folder / file} {what} (expected md5 {FILES[name][file]}, found {found}){why}. "
        f"Three ways to get it: set CIFAR_UTILS_DATA (or data_dir) to a folder that has it; "
        f"download it from {HOME_PAGES[name]} into {folder}; "
        f"or let load({name!r}) download it on a machine with a network."
    )


def _download(name: str, folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if name == "cifar10":
            from torchvision.datasets import CIFAR10

            CIFAR10(folder, download=True)
        elif name == "mnist":
            from torchvision.datasets import MNIST

            MNIST(folder, download=True)
        elif name == "gurmukhi_digits":
            _download_gurmukhi(folder)
        else:
            raise OSError("it has no public address that can be downloaded by itself")
    except DataError:
        raise
    except Exception as error:  # torchvision, pooch and requests each raise their own kinds
        reason = f"; it could not be downloaded: {type(error).__name__}: {error}".split("\n")[0]
        missing = next((f for f in FILES[name] if not (folder / f).exists()), None)
        if missing is None:  # everything arrived but something in it is broken
            _verify(name, folder)
        _refuse(name, folder, "is missing", missing, why=reason.rstrip("."))
    _verify(name, folder)
    return folder


def _download_gurmukhi(folder: Path) -> None:
    import shutil
    import tempfile
    import zipfile

    import pooch

    with tempfile.TemporaryDirectory() as scratch:
        # The archive is made on request, so only what is in it has a fixed sum; _verify checks that.
        archive = pooch.retrieve(GURMUKHI_ARCHIVE, known_hash=None, path=scratch, progressbar=False)
        with zipfile.ZipFile(archive) as zf:
            zf.extractall(scratch)
        found = next(Path(scratch).rglob("handwritten_data"))
        shutil.copytree(found, folder / "gurmukhi_digits", dirs_exist_ok=True)
