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
    """The heads of a folder's records, each read again when its file has changed.

    Args:
        path: where they are kept; a file that is absent or damaged is made again, and one that cannot be written is
            no harm but time.
        folder: what the records' names are relative to, so that a folder reached by several paths has one index.
    """

    def __init__(self, path: Path, folder: Path):
        self.path, self.folder = path, folder
        self._heads: dict[str, tuple[int, Head | None]] | None = None

    def heads(self, names: list[str]) -> Iterator[Head]:
        """Yield the head of each of these files of the folder that is a whole record; others are forgotten."""
        before = self._known()
        now: dict[str, tuple[int, Head | None]] = {}
        for name in names:
            path = f"{self.folder}/{name}"
            with suppress(OSError):
                changed, known = os.stat(path).st_mtime_ns, before.get(name)
                now[name] = known if known and known[0] == changed else (changed, _head(path))
        if now != before:
            self._heads = now
            self._write(now)
        yield from (head for _, head in now.values() if head)

    def _known(self) -> dict[str, tuple[int, Head | None]]:
        if self._heads is None:
            self._heads = {}
            with suppress(OSError, ValueError, TypeError, AttributeError):
                told = json.loads(self.path.read_text(encoding="utf-8"))
                self._heads = {
                    name: (when, head and Head(**head, path=f"{self.folder}/{name}"))
                    for name, (when, head) in told.items()
                }
        return self._heads

    def _write(self, heads: dict[str, tuple[int, Head | None]]) -> None:
        told = {
            name: (changed, head and {k: v for k, v in vars(head).items() if k != "path"})
            for name, (changed, head) in heads.items()
        }
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
