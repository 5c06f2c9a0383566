"""What the records of a store say at a glance, kept in one file: to read thousands whole would take seconds."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from .records import read_record


@dataclass(frozen=True)
class Head:
    """What decides whether a record is wanted; the record itself is read, and its sum compared, by whoever wants it.

    Attributes:
        key, seed, stem: of the training.
        recipe: in its canonical form.
        state: the file that a longer training goes on from, if there is one.
        epochs, iterations: its length.
        seconds, operations: what it took, on `machine`.
        path: of the record.
    """

    key: str
    seed: int
    stem: str
    recipe: dict
    state: str | None
    epochs: int
    iterations: int
    seconds: float
    operations: float
    machine: str | None
    path: str


class Index:
    """The heads of records, each read again when its file has changed.

    Args:
        path: where they are kept; a file that is absent or damaged is made again, and one that cannot be written is
            no harm but time.
    """

    def __init__(self, path: Path):
        self.path = path
        self._heads: dict[str, tuple[int, Head | None]] | None = None

    def heads(self, records: list[str]) -> Iterator[Head]:
        """Yield the head of each of these files that is a whole record."""
        known, is_new = self._known(), False
        for path in records:
            try:
                changed = os.stat(path).st_mtime_ns
            except OSError:
                continue
            if known.get(path, (0, None))[0] != changed:
                known[path], is_new = (changed, _head(path)), True
            if head := known[path][1]:
                yield head
        if is_new:
            self._write()

    def _known(self) -> dict[str, tuple[int, Head | None]]:
        if self._heads is None:
            self._heads = {}
            with suppress(OSError, ValueError, TypeError, AttributeError):
                told = json.loads(self.path.read_text(encoding="utf-8"))
                self._heads = {path: (when, head and Head(**head, path=path)) for path, (when, head) in told.items()}
        return self._heads

    def _write(self) -> None:
        told = {}
        for path, (changed, head) in self._known().items():
            if os.path.exists(path):
                told[path] = changed, head and {k: v for k, v in vars(head).items() if k != "path"}
        draft = self.path.with_suffix(f".{os.getpid()}.part")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            draft.write_text(json.dumps(told), encoding="utf-8")
            os.replace(draft, self.path)
        except OSError:
            with suppress(OSError):
                draft.unlink(missing_ok=True)


def _head(path: str) -> Head | None:
    record = read_record(Path(path))
    if record is None:
        return None
    history = record["history"]
    return Head(
        key=record["key"],
        seed=record["seed"],
        stem=record["stem"],
        recipe=record["recipe"],
        state=record.get("state"),
        epochs=len(history["train_loss"]),
        iterations=history["iterations"],
        seconds=history["seconds"],
        operations=record["operations"],
        machine=record["environment"].get("machine"),
        path=path,
    )
