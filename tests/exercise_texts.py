"""What the notebooks say in their exercises and folded solutions, for the tests that compute it again."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"


@cache
def exercises(notebook: str) -> str:
    """Return the text of a notebook's exercises."""
    cells = json.loads((NOTEBOOKS / f"{notebook}.ipynb").read_text(encoding="utf-8"))["cells"]
    chosen = (c for c in cells if "exercises" in c["metadata"].get("tags", []))
    return "\n".join("".join(c["source"]) for c in chosen)


@cache
def labels(prefixes: tuple[str, ...]) -> frozenset[str]:
    """Return the labels of all exercises in notebooks whose names begin like this."""
    names = (p.stem for p in NOTEBOOKS.glob("*.ipynb") if p.name.startswith(prefixes))
    return frozenset(x for n in names for x in re.findall(r"^:label: (\S+)$", exercises(n), re.MULTILINE))


@cache
def solution(label: str) -> str:
    """Return a solution on one line, without what is glued in from runs."""
    (found,) = re.findall(
        rf"^````{{solution}} {label}\n(.*?)^````$", exercises(label.rpartition("-")[0]), re.M | re.S
    )
    return " ".join(re.sub(r"{glue:text}`[^`]*`", "(glued)", found).split())
