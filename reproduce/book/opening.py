"""What stands above a chapter's first section: the answer in short, the card, and one fold for what sets it up."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .. import cards, versions
from ..cards import Row
from ..verdict import Verdict
from . import cost
from .scoreboard import counts

#: Words that a reader takes in a minute.
PACE = 240

#: The tag of the cell that says a chapter's answer in short.
IN_SHORT = "in-short"

#: How the box that it becomes begins.
IN_SHORT_BOX = "::::{admonition} In short\n"

_CARD = '<dl class="cu-card">'
_NOT_READ = re.compile(r"```.*?```|<[^>]+>|^:\w+:.*$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Facts:
    """What a chapter's card tells on its page, besides what it tells in the notebook.

    Attributes:
        verdicts: how many claims have each verdict.
        minutes: to read its text.
        rerun: the command that makes the page again.
        citation: how to cite it.
        trainings: how many it stands on, where they ran and for how long; empty where it has none.
    """

    verdicts: dict[Verdict, int]
    minutes: int
    rerun: str
    citation: str
    trainings: str


def facts(executed: dict, record: dict, rows: list[Row]) -> Facts:
    """Return what the card tells of a chapter's page."""
    texts = ["".join(cell["source"]) for cell in executed["cells"] if cell["cell_type"] == "markdown"]
    words = len(_NOT_READ.sub(" ", "\n".join(texts)).split())
    title = texts[0].partition("\n")[0].lstrip("# ")
    commit = record.get("environment", {}).get("commit", "unknown").rstrip("+")
    return Facts(
        counts(rows),
        max(1, round(words / PACE)),
        f"python -m reproduce run {record['notebook']} --profile {record['profile']}",
        f"Five Reports, Rerun. “{title}”, version of {record['started'][:10]} (commit {commit}).",
        cost.in_words(record),
    )


def answer_first(cells: list[dict], record: dict, about: Facts) -> list[dict]:
    """Return a chapter's cells with its card before its code, and that in one fold.

    Parameters, those of this run, and what is imported are three cells in the notebook, all above the card. A
    notebook without a card stays as it is.
    """
    where = [i for i, cell in enumerate(cells) if any(map(_is_card, cell.get("outputs", ())))]
    if not where:
        return cells
    code = [i for i, cell in enumerate(cells) if cell["cell_type"] == "code" and not versions.is_for_colab(cell)]
    first = code[0]
    setup, card = cells[first : where[0]], cells[where[0]]
    if any(cell["cell_type"] != "code" or cell.get("outputs") for cell in setup):
        return cells
    html = cards.header(record, record["question"], finished=True, about=about)
    outputs = [{**each, "data": {"text/html": html}} if _is_card(each) else each for each in card["outputs"]]
    shown = {**card, "metadata": {"tags": ["remove-input"]}, "outputs": outputs}
    sources = ["".join(cell["source"]).removeprefix("# fmt: off\n") for cell in [*setup, card]]
    fold = {
        "cell_type": "code", "id": "setup", "execution_count": None, "outputs": [],
        "metadata": {"tags": ["hide-input"], "mystnb": {"code_prompt_show": "Show parameters and imports"}},
        "source": "\n\n".join(sources),
    }  # fmt: skip
    return [*map(_boxed, cells[:first]), shown, fold, *cells[where[0] + 1 :]]


def _is_card(output: dict) -> bool:
    return _CARD in "".join(output.get("data", {}).get("text/html", ""))


def _boxed(cell: dict) -> dict:
    """Return a cell; the one that answers in short in a box of its own."""
    if IN_SHORT not in cell["metadata"].get("tags", []):
        return cell
    text = "".join(cell["source"])
    return {**cell, "source": f"{IN_SHORT_BOX}:class: cu-short\n\n{text}\n::::"}
