"""Find the files of a data set, or of a network's weights, and verify them; say how what is not here can be had."""

from __future__ import annotations

import ast
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..errors import DataError
from ..paths import root
from .catalogue import DATASETS, LABELS, SERVES, WEIGHTS, Source

#: The folders that sets lie in, deepest first, for somebody who names one of these and not the one above.
_OWN_FOLDERS = sorted(
    {
        folder
        for source in (*DATASETS.values(), *LABELS.values(), *WEIGHTS.values())
        for file in map(Path, source.files)
        for folder in ([file] if len(file.parts) == 1 else [*file.parents][:-1])
    },
    key=lambda folder: (-len(folder.parts), folder),
)


@dataclass(frozen=True)
class Status:
    """How one data set, or the weights for one function of `models.pretrained`, can be had.

    Attributes:
        name: what was asked for.
        state: `here` (and its sums are right), `to fetch` (the first use does it), or `by hand`.
        sentence: the same in words, with files and places.
    """

    name: str
    state: str
    sentence: str


def source_of(name: str) -> Source:
    """Return what the catalogue says of a data set, of labels or of weights.

    Raises:
        DataError: there is no such set.
    """
    for table in (DATASETS, LABELS, WEIGHTS):
        if name in table:
            return table[name]
    known = ", ".join([*DATASETS, *LABELS, *WEIGHTS])
    raise DataError(f"There is no data set called {name!r}; expected one of {known}.")


def digit_images(folder: Path) -> list[Path]:
    """Return the images in `train/0` to `val/9` of `folder`, in sorted order; strangers are passed over."""
    inside = [folder / part / str(digit) for part in ("train", "val") for digit in range(10)]
    found = [p for at in inside if at.is_dir() for p in sorted(at.iterdir())]
    return [p for p in found if p.suffix.lower() in (".bmp", ".tiff") and p.name[0] != "."]


def sum_of(path: Path, kind: str = "md5") -> str:
    """Return the sum of a file in hexadecimal, or of a folder's `digit_images`, joined in their order."""
    digest = hashlib.new(kind)
    for part in digit_images(path) if path.is_dir() else [path]:
        digest.update(part.read_bytes())
    return digest.hexdigest()


def matches(path: Path, expected: str) -> str | None:
    """Return None where a file has the sum `expected` (md5, or `sha256:` and its first digits), else its own sum."""
    kind, _, digits = expected.rpartition(":")
    found = sum_of(path, kind or "md5")[: len(digits)]
    return None if found == digits else found


def form_of(name: str, file: str, folder: Path) -> tuple[Path, str]:
    """Return where `file` of a set lies in `folder`, packed or unpacked, and the sum that it must have there."""
    source = source_of(name)
    if file in source.unpacked and not (folder / file).exists():
        other, expected = source.unpacked[file]
        if (folder / other).exists():
            return folder / other, expected
    return folder / file, source.files[file]


def verified(name: str, folder: Path) -> dict[str, str]:
    """Return the sums of the files that a set is read from, by their paths below `folder`."""
    forms = (form_of(name, file, folder) for file in source_of(name).files)
    return {path.relative_to(folder).as_posix(): expected for path, expected in forms}


def candidates(data_dir: str | os.PathLike | None) -> list[Path]:
    """Return the folders that are searched, in order: the one given, $CIFAR_UTILS_DATA, ./data.

    A folder that is given, or that the variable names, is the only one looked at: falling through
    from a mistyped path to another copy would hide the mistake. `~` and variables in it are expanded,
    and a set's own folder, such as `cifar-10-batches-py`, stands for the one above.

    Raises:
        DataError: a folder that is given, or that the variable names, does not exist.
    """
    given = data_dir or os.environ.get("CIFAR_UTILS_DATA")
    if not given:
        return list(dict.fromkeys([Path("data"), root() / "data"]))
    folder = Path(os.path.expandvars(os.path.expanduser(given)))
    if not folder.is_dir():
        who = "data_dir names" if data_dir else "CIFAR_UTILS_DATA names"
        what = "is a file" if folder.exists() else "does not exist"
        raise DataError(f"{who} {folder}, which {what}; expected a folder: make it, or correct the name.")
    for parts in (own.parts for own in _OWN_FOLDERS):
        if folder.absolute().parts[-len(parts) :] == parts and not (folder / parts[0]).exists():
            return [folder.absolute().parents[len(parts) - 1]]
    return [folder]


@contextmanager
def in_one_sentence(name: str) -> Iterator[None]:
    """Turn what the file system refuses into a `DataError`."""
    try:
        yield
    except (OSError, EOFError) as error:
        where = getattr(error, "filename", None) or "a file"
        why = (getattr(error, "strerror", None) or str(error) or type(error).__name__).lower()
        raise DataError(
            f"{name}: {where} cannot be read ({why}); make it readable, or set CIFAR_UTILS_DATA (or data_dir) to "
            "a folder that is."
        ) from None


def locate(name: str, data_dir: str | os.PathLike | None = None, download: bool = True) -> Path:
    """Return a folder that holds every file of a data set or of weights, each with the expected sum.

    An archive that lies there is unpacked. What is missing or damaged is downloaded, while other processes
    that ask for the same set wait; a damaged file is kept beside, as `NAME.damaged`.

    Args:
        name: a key of `DATASETS`, `LABELS` or `WEIGHTS`.
        data_dir: the folder to look in, instead of `$CIFAR_UTILS_DATA` or `./data`.
        download: whether to fetch the set from its official place when no folder holds it.

    Raises:
        DataError: the name is unknown, or a file is missing, damaged or not readable. The message names
            the file, the expected and the found sum, and the ways to get it.
    """
    source_of(name)
    with in_one_sentence(name):
        folder = _folder_of(name, data_dir)
        if wrong(name, folder):
            from . import fetch

            fetch.complete(name, folder, download)
    return folder


def _folder_of(name: str, data_dir: str | os.PathLike | None) -> Path:
    """Return the first folder with most of the set's files, or its archive; the last one where none has any."""
    from . import fetch

    def here(folder: Path) -> float:
        lie_there = sum(form_of(name, file, folder)[0].exists() for file in source_of(name).files)
        return lie_there or 0.5 * bool(fetch.archive_in(name, folder))

    folders = candidates(data_dir)
    best = max(folders, key=here)
    return best if here(best) else folders[-1]


def wrong(name: str, folder: Path) -> dict[str, str]:
    """Return what was found of each file that is missing (`no file`) or damaged (its sum)."""
    found = {}
    for file in source_of(name).files:
        path, expected = form_of(name, file, folder)
        if not path.exists():
            found[file] = "no file"
        elif other := matches(path, expected):
            found[file] = other
    return found


def locate_one_of(need: str, data_dir: str | os.PathLike | None = None, download: bool = True) -> tuple[str, Path]:
    """Return which weights serve a function of `models.pretrained`, and the folder that has them: as `locate`.

    Taken are the first in `SERVES` that are here and whole; where none are, the first of all are fetched.

    Raises:
        DataError: none are here, and the first could not be fetched; damaged ones are named.
    """
    with in_one_sentence(need):
        name, damaged = _serving(need, data_dir)
    try:
        return name, locate(name, data_dir, download)
    except DataError as error:
        raise DataError("".join(f"{path} is damaged. " for path in damaged) + str(error)) from None


def _serving(need: str, data_dir: str | os.PathLike | None) -> tuple[str, list[Path]]:
    """Return the first weights in `SERVES` that are here and whole, or else the first; and those that are damaged."""
    damaged = []
    for name in SERVES[need]:
        folder = _folder_of(name, data_dir)
        bad = wrong(name, folder)
        if not bad:
            return name, []
        damaged += [folder / file for file, found in bad.items() if found != "no file"]
    return SERVES[need][0], damaged


def needed(notebook: Path) -> list[str]:
    """Return the data sets, labels and keys of `SERVES` that a notebook's code asks for, in order of their first use.

    Found are calls `load("name")`, `Recipe("name", ...)` and `recipe.but(data="name")`, also of a name that a
    comprehension runs through, and calls of a function of `models.pretrained`.
    """
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    found, known = [], {*DATASETS, *LABELS}
    for cell in (c for c in cells if c["cell_type"] == "code"):
        nodes = list(ast.walk(ast.parse("".join(cell["source"]))))
        runs_through = {
            n.target.id: n.iter.elts
            for n in nodes
            if isinstance(n, ast.comprehension)
            if isinstance(n.target, ast.Name) and isinstance(n.iter, (ast.Tuple, ast.List, ast.Set))
        }
        for call in sorted((n for n in nodes if isinstance(n, ast.Call)), key=lambda n: (n.lineno, n.col_offset)):
            called = ast.unparse(call.func).rpartition(".")[2]
            first = call.args[:1] if called != "but" else []
            given = [*first, *(k.value for k in call.keywords if k.arg == "data")]
            if called in SERVES:
                found.append(called)
            elif called in ("load", "Recipe", "but") and given:
                first = given[0]
                names = runs_through.get(first.id, []) if isinstance(first, ast.Name) else [first]
                found += [n.value for n in names if isinstance(n, ast.Constant) and n.value in known]
    return list(dict.fromkeys(found))


def status(names: Iterable[str], data_dir: str | os.PathLike | None = None) -> list[Status]:
    """Return for each data set, weights or key of `SERVES` whether it is here, or how it can be had.

    Nothing is downloaded, unpacked or changed.

    Raises:
        DataError: an unknown name, a folder that does not exist or cannot be read.
    """
    return [_status(name, data_dir) for name in names]


def _status(asked: str, data_dir: str | os.PathLike | None) -> Status:
    from . import fetch

    with in_one_sentence(asked):
        name = _serving(asked, data_dir)[0] if asked in SERVES else asked
        label = asked if asked == name else f"{asked} ({name})"
        folder = _folder_of(name, data_dir)
        bad = wrong(name, folder)
        if not bad:
            return Status(asked, "here", f"{label} is in {folder}, and its sums are right.")
        first, found = next(iter(bad.items()))
        what = f"{form_of(name, first, folder)[0]} is {'missing' if found == 'no file' else 'damaged'}"
        if archive := fetch.archive_in(name, folder):
            return Status(asked, "to fetch", f"{label}: {what}; {archive} lies there and will be unpacked.")
        if urls := source_of(name).urls:
            url = urls[0] + Path(first).name * urls[0].endswith("/")
            return Status(asked, "to fetch", f"{label}: {what}; it will be fetched from {url}.")
        return Status(asked, "by hand", f"{label}: {what}; {fetch.by_hand(name, folder)}.")
