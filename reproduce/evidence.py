"""Where each setting of a reproduction comes from: said by the report, published with it, or inferred by a search."""

from __future__ import annotations

import re
from dataclasses import MISSING, dataclass, fields
from functools import cache
from typing import Literal, get_args

from cifar_utils.errors import LedgerError
from cifar_utils.paths import root

Origin = Literal["stated", "published", "inferred"]
Certainty = Literal["", "certain", "likely", "open"]


@dataclass(frozen=True)
class Setting:
    """One choice that decides an experiment, and how we know of it.

    Attributes:
        notebook: the notebook whose experiment it decides.
        what: what is chosen, such as `batch size`.
        value: what the report's experiment took, in words.
        origin: `stated` in the report's text, `published` in its author's code or figures, or `inferred` by a search
            of ours; `from` in the ledger.
        where: the page, file, figure or experiment that it can be read from.
        source: key in the bibliography of what was published.
        certainty: `certain`, `likely` or `open`; what is stated needs none.
        ours: what the chapter's own runs take, where that is another.
        because: how well a search identified it, or why ours is another.
    """

    notebook: str
    what: str
    value: str
    origin: Origin
    where: str
    source: str = ""
    certainty: Certainty = ""
    ours: str = ""
    because: str = ""

    def __post_init__(self):
        label = f"Setting {self.what!r} of {self.notebook}"
        for field in fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, str) or (field.default is MISSING and not value.strip()):
                raise LedgerError(f"{label}: {field.name} is {value!r}; expected text (put numbers in quotes)")
        for name, known in (("origin", get_args(Origin)), ("certainty", get_args(Certainty))):
            if getattr(self, name) not in known:
                expected = ", ".join(filter(None, known))
                raise LedgerError(f"{label}: {name} is {getattr(self, name)!r}; expected one of {expected}")
        if (self.origin == "published") != bool(self.source):
            raise LedgerError(f"{label}: what is published, and nothing else, names its source")
        if (self.origin != "stated") != bool(self.certainty):
            raise LedgerError(f"{label}: what is published or inferred, and nothing else, says its certainty")

    @classmethod
    def of(cls, notebook: str, entry: dict) -> Setting:
        """Return the setting of an entry of the ledger."""
        return cls(notebook=notebook, **{"origin" if key == "from" else key: value for key, value in entry.items()})

    @property
    def link(self) -> tuple[str, str]:
        """Title and address of what was published; both empty for the other origins."""
        return sources()[self.source] if self.source else ("", "")


#: Fields of an entry of the ledger.
GIVEN = tuple("from" if f.name == "origin" else f.name for f in fields(Setting) if f.name != "notebook")


@cache
def sources() -> dict[str, tuple[str, str]]:
    """Return title and address of every entry of the bibliography that has an address, by its key."""
    from pybtex.database import parse_file

    entries = parse_file(str(root() / "book" / "references.bib")).entries
    return {
        key: (re.sub(r"[{}]|\\(?=%)", "", entry.fields["title"]), entry.fields["url"])
        for key, entry in entries.items()
        if "url" in entry.fields
    }
