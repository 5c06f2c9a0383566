"""What a chapter computes besides its trainings, kept for its next run: `run.keep("maps", lambda: tsne(features))`.

runs/kept/CHAPTER/NAME-PARAMETERS-KEY.kept   a sum, a line's end, and what joblib wrote

The key holds everything that decides a result, all code of the chapter with it, so that nothing here can be stale.
`joblib.Memory` has the function's own source and its arguments in the key: not what it calls, nor what it takes from
cells above, and it knows nothing of random states.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import io
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import joblib
import torch

from cifar_utils import operations
from cifar_utils.errors import ParameterError
from cifar_utils.paths import notebook_path, root

from . import generators

Value = TypeVar("Value")

#: What a chapter notes; inside a kept computation the next run would not note it.
NOTES = (
    "check", "enter", "finish", "glue", "keep", "load", "note_training", "points", "printed", "report", "scale",
    "settings", "train", "uses",
)  # fmt: skip

#: Distributions that compute; a version of any of them may change a result.
COMPUTE = ("torch", "torchvision", "numpy", "scipy", "scikit-learn", "numba", "openTSNE", "joblib")

#: What libraries read how many threads from.
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")

#: Seconds after which a draft is what a killed run left.
_ABANDONED = 86_400


class Shelf:
    """The kept results of one run of one chapter.

    Attributes:
        taken: seconds that each result which was taken from the store had cost, by name.
    """

    def __init__(self, chapter: str, device: torch.device, is_sample: bool, executed: Sequence[str] = ()):
        """Begin.

        Args:
            chapter: its name.
            device: that of its tensors; its random states count, too.
            is_sample: then everything is computed, and nothing stored.
            executed: the cells that this kernel has run so far, IPython's own list.
        """
        self.taken: dict[str, float] = {}
        self._chapter, self._device, self._is_sample, self._executed = chapter, device, is_sample, executed
        self._names: set[str] = set()

    def get(self, name: str, compute: Callable[[], Value], decides: Mapping[str, Any]) -> Value:
        """Return what `compute` returns: from the store, or computed now and stored; see `Chapter.keep`.

        The value is a copy through the store's format in both cases, so that the memory of an array lies alike.

        Args:
            name: what it is called.
            compute: takes nothing.
            decides: JSON-ready, what besides this process decides the value; of `parameters` each set has a file.
        """
        if not name.isidentifier():
            raise ParameterError(f"run.keep was given the name {name!r}; expected an identifier, such as maps.")
        in_order = _in_order(self._chapter, self._executed)
        if in_order and name in self._names:
            raise ParameterError(f"run.keep has a result called {name!r} already; give this one another name.")
        self._names.add(name)
        path = None if self._is_sample or not in_order else self._path(name, decides)
        if path and (found := self._read(path, name)):
            generators.restore({key: after for key, (_, after) in found["moved"].items()}, self._device)
            operations.add(found["operations"])
            self.taken[name] = round(found["seconds"], 1)
            return found["value"]
        packed = _packed(self._compute(compute), name)
        if path:
            _write(path, packed)
        return joblib.load(io.BytesIO(packed))["value"]

    def _path(self, name: str, decides: Mapping[str, Any]) -> Path:
        own = _sum_of(decides["parameters"])[:8]
        key = _sum_of({**decides, "name": name, "process": _process()})[:16]
        return root() / "runs" / "kept" / self._chapter / f"{name}-{own}-{key}.kept"

    def _compute(self, compute: Callable[[], Any]) -> dict:
        """Return a value with what else changed: generators' states, operations, and the clock."""
        before, counted, began = generators.states(self._device), operations.total(), time.perf_counter()
        value = compute()
        seconds, after = time.perf_counter() - began, generators.states(self._device)
        moved = {
            key: (joblib.hash(before[key]), state)
            for key, state in after.items()
            if joblib.hash(before[key]) != joblib.hash(state)
        }
        return {"value": value, "seconds": seconds, "operations": operations.total() - counted, "moved": moved}

    def _read(self, path: Path, name: str) -> dict | None:
        """Return a stored result; None where there is none that is whole, or where it began from other states."""
        try:
            stated, _, packed = path.read_bytes().partition(b"\n")
        except FileNotFoundError:
            return None
        except OSError as error:
            print(f"{path} could not be read ({error.strerror}): {name} is computed anew.", file=sys.stderr)
            return None
        try:
            if stated.decode("ascii", "replace") != hashlib.sha256(packed).hexdigest():
                raise ValueError("it has another sum")  # nothing is unpickled whose sum is wrong
            found = joblib.load(io.BytesIO(packed))
        except MemoryError:
            raise
        except Exception as error:
            aside = path.with_suffix(".damaged")
            with suppress(OSError):
                os.replace(path, aside)
            print(f"{path.name} is damaged ({error}): it is now {aside.name}, and computed anew.", file=sys.stderr)
            return None
        now = generators.states(self._device)
        if any(joblib.hash(now[key]) != began for key, (began, _) in found["moved"].items()):
            print(f"{name} draws from a generator that stands elsewhere now: it is computed anew.", file=sys.stderr)
            return None
        return found


def noting_nothing(chapter: object, name: str, compute: Callable[[], Value]) -> Callable[[], Value]:
    """Return `compute` in a form that refuses what a chapter would note: the next run would lose it."""

    def refusing(method: str):
        def refuse(*_: object, **__: object):
            raise ParameterError(
                f"run.{method} was called inside of run.keep({name!r}), where the next run would lose it; call it "
                "outside, with what run.keep returns."
            )

        return refuse

    def alone() -> Value:
        own = {method: refusing(method) for method in NOTES}
        vars(chapter).update(own)
        try:
            return compute()
        finally:
            for method in own:
                del vars(chapter)[method]

    return alone


def _in_order(chapter: str, executed: Sequence[str]) -> bool:
    """Whether what this kernel has run are the first cells of the notebook as it is stored, each once.

    An editor may have run a cell again, in another order or changed: then the notebook's code does not tell what a
    result was made from.
    """
    ran = [cell.strip() for cell in executed if cell.strip() and not cell.startswith("# Parameters\n")]
    cells = json.loads(notebook_path(chapter).read_text(encoding="utf-8"))["cells"] if ran else []
    written = ["".join(cell["source"]).strip() for cell in cells if cell["cell_type"] == "code"]
    return ran == [cell for cell in written if cell][: len(ran)]


def _process() -> dict:
    """Return what of this process decides the last digits, besides the chapter's environment."""
    versions = {}
    for name in COMPUTE:
        with suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    asked = {name: os.environ.get(name) for name in _THREADS}
    return {"versions": versions, "threads": [torch.get_num_threads(), os.cpu_count(), asked]}


def _sum_of(told: object) -> str:
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _packed(entry: dict, name: str) -> bytes:
    buffer = io.BytesIO()
    try:
        joblib.dump(entry, buffer)
    except Exception as error:
        raise ParameterError(
            f"run.keep({name!r}) cannot store what was returned ({error}); return numbers, arrays, tensors, or lists "
            "and dicts of them, and nothing that holds a lambda."
        ) from None
    return buffer.getvalue()


def _write(path: Path, packed: bytes) -> None:
    """Write a result, all or nothing, and delete the older ones of its name and parameters.

    A full disk costs the next run its time, and this one nothing.
    """
    draft = path.with_name(f"{path.stem}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with draft.open("wb") as file:
            file.write(hashlib.sha256(packed).hexdigest().encode() + b"\n")
            file.write(packed)
        os.replace(draft, path)
    except OSError as error:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        print(
            f"{path.name} could not be kept ({error.strerror}): the run goes on, and the next one computes it again.",
            file=sys.stderr,
        )
        return
    alike = path.name.rpartition("-")[0]
    for other in path.parent.glob(f"{alike}-*"):
        with suppress(OSError):  # another run may be deleting the same
            abandoned = other.suffix != ".part" or time.time() - other.stat().st_mtime > _ABANDONED
            if other != path and abandoned:
                other.unlink()
