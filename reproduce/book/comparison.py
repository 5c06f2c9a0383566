"""Numbers of different chapters side by side: what reaches what accuracy, what helps, and report by report."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import yaml

from cifar_utils.errors import LedgerError

from ..ledger import load_claims
from .edition import Edition

#: What `book/compare.yml` holds, and how a row of each part calls what it is about.
PARTS = {"accuracy": "method", "helps": "where"}

_NUMBER = r"[−+-]?\d+(?:\.\d+)?"
_VALUE = re.compile(_NUMBER)
_INTERVAL = re.compile(rf"\[({_NUMBER}), ({_NUMBER})\]")


@dataclass(frozen=True)
class Compared:
    """One number of one chapter.

    Attributes:
        about: what was measured, in words.
        text: the number with its unit, and its interval where it has one.
        notebook: its chapter.
        anchor: the part of the chapter's page that says more; empty for its top.
        note: what a reader must know besides: how large the run was, or that the page is of an earlier version.
    """

    about: str
    text: str
    notebook: str
    anchor: str
    note: str

    @property
    def value(self) -> float:
        """The number itself, in its unit."""
        return _float(_VALUE.search(self.text))

    @property
    def signed(self) -> str:
        """For a difference: its text, with a plus sign where it is above zero."""
        return f"+{self.text}" if self.value > 0 and not self.text.startswith("+") else self.text

    @property
    def effect(self) -> str:
        """For a difference: `helps`, `hurts`, or `cannot tell` where its interval holds zero or there is none."""
        if not (found := _INTERVAL.search(self.text)):
            return "cannot tell"
        low, high = (float(end.replace("−", "-")) for end in found.groups())
        return "helps" if low > 0 else "hurts" if high < 0 else "cannot tell"


def _float(found: re.Match | None) -> float:
    return float(found[0].replace("−", "-")) if found else float("-inf")


def read(edition: Edition, path: Path, part: str) -> list[tuple[str, list[Compared]]]:
    """Return the groups of one part of `book/compare.yml` with what the chapters found, largest accuracies first.

    A chapter that has no page is left out, and so is a number that an earlier version of a page does not have yet.

    Raises:
        LedgerError: an entry has other fields, or a current page does not have the number that it names.
    """
    what, groups = PARTS[part], []
    for group in yaml.safe_load(path.read_text(encoding="utf-8"))[part]:
        name, rows = next(value for key, value in group.items() if key != "rows"), []
        for entry in group["rows"]:
            if set(entry) != {what, "notebook", "number"}:
                raise LedgerError(f"{path.name}: {entry!r}; expected {what}, notebook and number.")
            if row := _row(edition, entry[what], entry["notebook"], entry["number"]):
                rows.append(row)
        if part == "accuracy":
            rows.sort(key=lambda row: -row.value)
        groups.append((name, rows))
    return [(name, rows) for name, rows in groups if rows]


def _row(edition: Edition, about: str, notebook: str, number: str) -> Compared | None:
    if notebook not in edition.records:
        return None
    record = edition.records[notebook]
    if number not in record["numbers"]:
        if notebook in edition.earlier:
            return None
        raise LedgerError(f"compare.yml names {number} of {notebook}, which glues no such number.")
    anchor = f"claim-{number.replace('.', '-')}" if number in load_claims() else ""
    scale = record["measurements"].get(number, {}).get("scale", "")
    notes = [scale] * bool(scale) + ["an earlier version"] * (notebook in edition.earlier)
    return Compared(about, record["numbers"][number], notebook, anchor, "; ".join(notes))
