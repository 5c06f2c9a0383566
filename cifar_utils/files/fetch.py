"""Complete a set that is not whole: unpack the archive that lies there, or download, one process at a time."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

from ..errors import DataError
from . import sources


def complete(name: str, folder: Path, download: bool) -> None:
    """Put every file of a set that is missing or damaged in its place in `folder`, with the expected sum.

    Raises:
        DataError: it could not be had; the message names the first file, the sums, and what to do.
    """
    import requests

    urls = sources.source_of(name).urls if download else ()
    if not urls and not archive_in(name, folder):
        raise _refusal(name, folder, "")
    reasons = []
    with _alone(name, folder):
        if not sources.wrong(name, folder):  # another process was first
            return
        for where in filter(None, (archive_in(name, folder), *urls)):
            try:
                with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=folder) as scratch:
                    _place(name, folder, _get(name, folder, where, Path(scratch)))
                return
            except requests.exceptions.ConnectionError:
                reasons.append(f"{urlsplit(str(where)).hostname} cannot be reached")
            except Exception as error:  # pooch, requests, tarfile, zipfile and the disk each raise their own kinds
                kind = "" if isinstance(error, DataError) else f"{type(error).__name__}: "
                reasons.append(f"{where} could not be used: {kind}{error}".split("\n")[0].rstrip("."))
    raise _refusal(name, folder, "; ".join(reasons))


def archive_in(name: str, folder: Path) -> Path | None:
    """Return the set's archive where it lies in `folder`, still to be unpacked."""
    pattern = sources.source_of(name).archive
    return next(iter(sorted(folder.glob(pattern))), None) if pattern else None


def by_hand(name: str, folder: Path) -> str:
    """Return what a person has to do to get a set that has no address."""
    source = sources.source_of(name)
    return f"it has no public address: get {' and '.join(source.files)} from {source.page} into {folder}"


@contextmanager
def _alone(name: str, folder: Path) -> Iterator[None]:
    """Hold the set's lock in `folder`, which is made for it, and goes again where nothing came of it."""
    from filelock import FileLock

    new, lock = not folder.exists(), FileLock(folder / f".{name}.lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError as error:
        raise _refusal(name, folder, f"{folder} cannot be written ({error.strerror or error})") from None
    try:
        for left in folder.glob(f".{name}-*"):  # by a process that was killed: nobody else is here now
            shutil.rmtree(left, ignore_errors=True)
        yield
    finally:
        with suppress(OSError):
            os.unlink(lock.lock_file)  # while it is held: whoever waits takes a new one
        lock.release()
        if new:
            with suppress(OSError):  # something lies there
                folder.rmdir()


def _get(name: str, folder: Path, where: Path | str, scratch: Path) -> dict[str, Path]:
    """Return the files that `folder` lacks, from an archive or an address, in `scratch`; their sums are right."""
    import pooch

    origin, bad = sources.source_of(name), sources.wrong(name, folder)

    def retrieve(url: str) -> Path:
        print(f"Downloading {url} into {folder} ...", file=sys.stderr, flush=True)
        pooch.get_logger().setLevel("WARNING")
        return Path(pooch.retrieve(url, known_hash=None, fname=url.rsplit("/", 1)[1], path=scratch))

    if origin.archive:
        archive = where if isinstance(where, Path) else retrieve(where)
        if origin.sum and (found := sources.matches(archive, origin.sum)):
            raise DataError(f"it is damaged (expected md5 {origin.sum}, found {found})")
        unpacked = scratch / "unpacked"
        shutil.unpack_archive(archive, unpacked, filter=None if archive.suffix == ".zip" else "data")
        inside = {file: next(unpacked.rglob(origin.inside or Path(file).name), unpacked / file) for file in bad}
    else:
        inside = {file: retrieve(f"{where}{Path(file).name}") for file in bad}
    for file, path in inside.items():
        expected = origin.files[file]
        if not path.exists():
            raise DataError(f"there is no {Path(file).name} in it")
        if found := sources.matches(path, expected):
            raise DataError(f"{Path(file).name} in it is damaged (expected {_named(expected)}, found {found})")
    return inside


def _place(name: str, folder: Path, fetched: dict[str, Path]) -> None:
    """Move files to their places; what is damaged there, packed or unpacked, is kept beside as `NAME.damaged`."""
    for file, new in fetched.items():
        old, at = sources.form_of(name, file, folder)[0], folder / file
        at.parent.mkdir(parents=True, exist_ok=True)
        if old.exists():
            names = (old.with_name(f"{old.name}.damaged{n}") for n in ("", *range(2, 1000)))
            old.rename(next(p for p in names if not p.exists()))
        os.replace(new, at)


def _refusal(name: str, folder: Path, why: str) -> DataError:
    """Return the error for a set that cannot be completed: which file, both sums, why, and what to do."""
    source = sources.source_of(name)
    file, found = next(iter(sources.wrong(name, folder).items()), (next(iter(source.files)), "no file"))
    path, expected = sources.form_of(name, file, folder)
    what = "is missing" if found == "no file" else "is damaged"
    strangers = [p for p in sources.digit_images(path) if not p.stem.isdigit()] if path.is_dir() else []
    notes = [f"{strangers[0]} is none of its files" if strangers else "", why, _seen(name, file, folder)]
    notes = "".join(f"; {note}" for note in notes if note)
    public = bool(source.urls)
    advice = (
        f"{'To mend it,' if public else 'It has no public address, so'} set CIFAR_UTILS_DATA (or data_dir) to a "
        f"folder that has it, or {'download it' if public else 'get it by hand'} from {source.page} into {folder}"
        f"{', or run where there is a network, which downloads it' if public else ''}."
    )
    return DataError(f"{name}: {path} {what} (expected {_named(expected)}, found {found}){notes}. {advice}")


def _named(expected: str) -> str:
    return f"md5 {expected}" if ":" not in expected else expected.replace(":", " ")


def _seen(name: str, file: str, folder: Path) -> str:
    """Return what lies in `folder` instead of the set, and what to do with it; "" for nothing that is known."""
    if not folder.is_dir():
        return ""
    source = sources.source_of(name)
    names = {Path(file).name, Path(source.unpacked.get(file, ("",))[0]).name, source.inside} - {""}
    for path in (p for n in sorted(names) for pattern in (n, f"*/{n}", f"*/*/{n}") for p in folder.glob(pattern)):
        target = folder / file
        if path != target and path.is_dir():
            return f"{path} may be it: rename it to {target}"
        if path != target:
            return f"it lies in {path.parent}: move what is there to {target.parent}"
    for pattern, what in source.mistaken.items():
        if found := next(iter(sorted(folder.glob(pattern))), None):
            return f"{found} is {what}, which is not read here"
    return ""
