"""What Sphinx's reading of docstrings leaves to be mended for the reference."""

from __future__ import annotations

import re
from typing import Any

_SEVERAL = re.compile(r"(\s*):ivar ([\w*]+(?:, [\w*]+)+):(.*)")


def attributes_apart(_app: Any, _what: str, _name: str, _about: Any, _options: Any, lines: list[str]) -> None:
    """Give attributes that share a description, `low, high: ends`, an entry each, in place.

    Napoleon does so for arguments; for attributes it takes all names but the last for a type.
    """
    apart: list[str] = []
    while lines:
        block = [lines.pop(0)]
        if not (found := _SEVERAL.fullmatch(block[0])):
            apart += block
            continue
        indent, names, said = found.groups()
        while lines and lines[0].startswith(f"{indent} "):  # what goes on is indented
            block.append(lines.pop(0))
        for name in names.split(", "):
            apart += [f"{indent}:ivar {name}:{said}", *block[1:]]
    lines[:] = apart
