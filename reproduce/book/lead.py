"""The figure that answers a chapter, above its first section: a reader sees it before the card and the argument."""

from __future__ import annotations

import html
import re
from functools import cache

import yaml

from cifar_utils.paths import root

from .opening import IN_SHORT_BOX

#: The tag of the cell that shows such a figure; pages give it the class `tag_lead`.
LEAD = "lead"

PICTURE = "image/png"


@cache
def leads() -> dict[str, str]:
    """Return the chosen cell of every chapter, by `book/lead.yml`."""
    return yaml.safe_load((root() / "book" / "lead.yml").read_text(encoding="utf-8"))


def figure_first(cells: list[dict], chapter: str) -> list[dict]:
    """Return a chapter's cells with a copy of the chosen figure below its answer in short.

    It links to its own place, where it is explained. A run of one's own that has no such figure stays as it is.
    """
    chosen = next((cell for cell in cells if cell.get("id") == leads().get(chapter)), None)
    at = next((i for i, cell in enumerate(cells) if "".join(cell["source"]).startswith(IN_SHORT_BOX)), None)
    if chosen is None or at is None:
        return cells
    pictures = [output for output in chosen["outputs"] if PICTURE in output.get("data", {})][:1]
    told = chosen["metadata"].get("mystnb", {})
    caption, name = (told.get("figure", {}).get(key) for key in ("caption", "name"))
    if not pictures or not caption or not name:
        return cells
    plain = re.sub(r"[*`$]|\{\w[\w:]*\}", "", caption)
    first = html.escape(" ".join(plain.split()).split(". ", 1)[0].rstrip("."))
    shown = {
        "cell_type": "code", "id": "lead", "source": "# lead", "execution_count": None, "outputs": pictures,
        "metadata": {"tags": ["remove-input", LEAD], "mystnb": {"image": told.get("image", {})}},
    }  # fmt: skip
    link = f'<p class="cu-lead">{first}. <a href="#{name}">Where it is explained</a></p>'
    below = {"cell_type": "markdown", "id": "lead-caption", "metadata": {}, "source": link}
    return [*cells[: at + 1], shown, below, *cells[at + 1 :]]
