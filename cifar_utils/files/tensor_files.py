"""Files of arrays and text, in the safetensors format: written whole or not at all, and read only if nothing changed.

Unlike a pickle, such a file cannot run code when it is opened. NumPy only, for networks that need no PyTorch.
"""

from __future__ import annotations

import os
import sys
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_bytes

from ..errors import CifarUtilsError, RunError

Found = TypeVar("Found")


def write(path: Path, arrays: Mapping[str, np.ndarray], texts: Mapping[str, str]) -> None:
    """Write arrays and texts to `path` under their names, all or nothing.

    Raises:
        RunError: the disk is full, or may not be written to; what was there before is still there.
    """
    arrays = {name: np.asarray(a, order="C") for name, a in arrays.items()}  # safetensors writes memory as it lies
    draft = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_bytes(to_bytes(arrays, {**texts, "sum": _sum(arrays, texts)}))
        os.replace(draft, path)  # a run killed while writing leaves the last whole file
    except OSError as error:
        if draft.exists():
            draft.unlink()  # a full disk needs the room
        raise RunError(
            f"{path.name} could not be written into {path.parent} ({error.strerror}); make room there, or allow "
            "writing, and run again: a training continues from its last whole checkpoint."
        ) from None


def read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Return the arrays and the texts that `write` put into `path`.

    Raises:
        RunError: the file is damaged, or may not be read.
    """
    try:
        with safe_open(path, framework="np") as f:
            arrays, texts = {k: f.get_tensor(k) for k in f.keys()}, f.metadata() or {}
    except OSError as error:
        raise RunError(f"{path} could not be read ({error}); allow reading it, or delete it.") from None
    except SafetensorError as error:
        raise RunError(f"{path.name} is damaged ({error}); delete it, and run again what wrote it.") from None
    if texts.pop("sum", None) != _sum(arrays, texts):
        raise RunError(f"{path.name} is damaged (it has another sum); delete it, and run again what wrote it.")
    return arrays, texts


def _sum(arrays: Mapping[str, np.ndarray], texts: Mapping[str, str]) -> str:
    total = 0
    for name in sorted(texts):
        total = zlib.crc32(f"{name}={texts[name]}\n".encode(), total)
    for name in sorted(arrays):
        # a buffer; NumPy's stubs say so from Python 3.12 on
        total = zlib.crc32(arrays[name], zlib.crc32(name.encode(), total))  # pyright: ignore[reportArgumentType]
    return f"{total:08x}"


def resume(path: Path | None, restore: Callable[[Path], Found]) -> Found | None:
    """Return what `restore(path)` returns; None where there is nothing to continue from.

    A file that cannot be continued from, because it is damaged, of something else or of another version, is put
    aside as `NAME.damaged` and named in a line of output.

    Raises:
        RunError: such a file cannot be put aside.
    """
    if path is None or not (path := Path(path)).exists():
        return None
    try:
        return restore(path)
    except Exception as error:
        if isinstance(error, MemoryError) or "OutOfMemory" in type(error).__name__:  # PyTorch has one of its own
            raise
        told = isinstance(error, CifarUtilsError)
        reason = str(error).split(";")[0] if told else f"{path.name} is incomplete or of another version ({error!r})"
    aside = path.with_name(f"{path.name}.damaged")
    try:
        os.replace(path, aside)
    except OSError as error:
        raise RunError(f"{reason}; {path} cannot be renamed ({error.strerror}): allow that, or delete it.") from None
    print(f"{reason}: it is now {aside.name}, and its training starts anew.", file=sys.stderr)
    return None
