"""Finished trainings in one file, from machine to machine: `trainings export FILE` and `trainings import FILE`."""

from __future__ import annotations

import os
import re
import sys
import tarfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from cifar_utils.errors import ParameterError, RunError
from cifar_utils.train.records import read_record
from cifar_utils.train.store import Store

from .trainings import store

#: What an archive holds, below the key of each training.
_MEMBER = re.compile(r"[0-9a-f]{16}/(record\.json|[\w-]+\.safetensors)")


def export(path: Path, keys: Sequence[str] = ()) -> int:
    """Write finished trainings with their weights into one archive; return how many.

    Raises:
        ParameterError: there is no training, or another file of that name.
        RunError: the archive cannot be written.
    """
    kept = store()
    if path.is_file() and not tarfile.is_tarfile(path):
        raise ParameterError(f"{path} is there and is no archive of trainings; name another file.")
    folders = (
        [kept.folder(key) for key in keys] if keys else sorted(p.parent for p in kept.root.glob("*/record.json"))
    )
    if not folders:
        raise ParameterError(f"There is no finished training in {kept.root}, so nothing was written.")
    draft, count = path.with_name(f"{path.name}.part"), 0
    try:
        with tarfile.open(draft, "w") as archive:
            for folder in folders:
                record = read_record(folder / "record.json")
                if record is None:
                    continue
                for file in filter(None, (record["state"], "scores.safetensors", "record.json")):
                    if (folder / file).exists():
                        archive.add(folder / file, f"{folder.name}/{file}", filter=_nobodys)
                count += 1
        os.replace(draft, path)
    except OSError as error:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        raise RunError(f"{path} could not be written ({error.strerror}); make room there, or name another.") from None
    return count


def _nobodys(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Return a member without the name of whoever made it."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


def take_in(path: Path) -> tuple[int, int]:
    """Read an archive of `export` into the store; return how many trainings were new, and how many were there.

    Raises:
        ParameterError: it is no such archive, or a damaged one; nothing of it is taken in then.
        RunError: the disk is full.
    """
    kept, new, known = store(), 0, 0
    try:
        with tarfile.open(path) as archive:
            members = {m.name: m for m in archive if m.isfile() and _MEMBER.fullmatch(m.name)}
            for key in sorted({name.partition("/")[0] for name in members if name.endswith("/record.json")}):
                if read_record(kept.folder(key) / "record.json"):
                    known += 1
                elif _unpacked(archive, [m for name, m in members.items() if name.startswith(f"{key}/")], kept, key):
                    new += 1
                else:
                    print(f"{key} in {path.name} is not whole, and does not count.", file=sys.stderr)
    except FileNotFoundError:
        raise ParameterError(f"There is no file {path}; make one with trainings export FILE.") from None
    except (tarfile.TarError, IsADirectoryError):
        raise ParameterError(
            f"{path} is no whole archive of trainings, so nothing was taken in; make one with trainings export FILE."
        ) from None
    except OSError as error:
        raise RunError(
            f"{path} could not be unpacked into {kept.root} ({error.strerror}); make room there."
        ) from None
    return new, known


def _unpacked(archive: tarfile.TarFile, members: Sequence[tarfile.TarInfo], kept: Store, key: str) -> bool:
    """Put a training's files into the store; return whether it is whole. The record comes last: it says so."""
    folder = kept.folder(key)
    folder.mkdir(parents=True, exist_ok=True)
    for each in sorted(members, key=lambda m: m.name.endswith("/record.json")):
        target = folder / Path(each.name).name
        draft = target.with_name(f"{target.name}.part")
        try:
            draft.write_bytes(archive.extractfile(each).read())  # type: ignore[union-attr]
            if target.name == "record.json" and (read_record(draft) or {}).get("key") != key:
                return False
            os.replace(draft, target)
        finally:
            draft.unlink(missing_ok=True)
    return True
