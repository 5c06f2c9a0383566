"""An executed chapter as a reader of the book sees it: verdicts of today, and what it is an earlier version of."""

from __future__ import annotations

import re
from collections.abc import Container
from copy import deepcopy

from ..cards import Row, chapter_rows, ledger_table, settings_table
from ..cells import note_cells
from ..ledger import load_reports
from ..record import RECORD_MIME, SETTINGS_MIME
from .lead import figure_first
from .opening import answer_first, facts
from .solution_code import with_places

#: What chapter.glue leaves in a notebook, and myst-nb looks for.
_GLUED = "application/papermill.record/text/plain"

#: Characters that a fold tells of its figure, so that this stays on one line.
FOLD = 60

#: A link of Markdown to another chapter, by its file.
_TO_CHAPTER = re.compile(r"\[([^\]]+)\]\((\w+)\.ipynb(#[\w-]+)?\)")

#: By what maps that can be touched, and matrices that open, are known among a cell's outputs.
OPENED = ('class="cu-map"', 'class="cu-matrix"')


def as_page(executed: dict, record: dict, published: Container[str] = (), note: str = "") -> dict:
    """Return an executed notebook with its ledger table and glued verdicts judged anew, and without its record.

    Args:
        executed: the notebook.
        record: what it measured.
        published: names of the chapters that the book has; the text of a link to any other stays, without the link.
        note: Markdown that is put below the title.
    """
    executed, record = deepcopy(executed), deepcopy(record)
    note_cells(executed, record)
    measured = {claim: f"cell-{found['cell']}" for claim, found in record["measurements"].items() if found["cell"]}
    rows = chapter_rows(record, lambda claim_id: measured.get(claim_id, ""))
    executed = with_verdicts(executed, rows, {"text/html": ledger_table(rows)})
    name = record["notebook"]
    _renew(executed, SETTINGS_MIME, settings_table(load_reports()[name.split("_")[0]].settings.get(name, ())))
    cells = []
    for cell, anchor in zip(executed["cells"], cell_anchors(executed), strict=True):
        if cell["cell_type"] == "code":
            cells += _opened_apart(cell)
        else:
            text = _TO_CHAPTER.sub(lambda link: _link(link, published), "".join(cell["source"]))
            cells.append({**cell, "source": with_places(text)})
        if anchor in measured.values() and "remove-cell" in cell["metadata"].get("tags", []):
            cells.append(_place(anchor))
    if note:
        title, _, rest = cells[0]["source"].partition("\n")
        cells[0]["source"] = f"{title}\n\n{note}\n\n{rest}"
    cells = figure_first(answer_first(cells, record, facts(executed, record, rows)), name)
    return {**executed, "cells": [_named(cell) for cell in cells]}


def with_verdicts(executed: dict, rows: list[Row], last: dict) -> dict:
    """Return an executed notebook with these rows' values and verdicts glued, and `last` as its last output."""
    glued = {row.claim.id: row.reproduced for row in rows if row.found}
    glued |= {f"{row.claim.id}.verdict": str(row.verdict) for row in rows if row.found}
    return {**executed, "cells": [
        {**cell, "outputs": [_present(output, glued, last) for output in cell["outputs"]]}
        if cell["cell_type"] == "code" else cell
        for cell in executed["cells"]
    ]}  # fmt: skip


def _present(output: dict, glued: dict[str, str], last: dict) -> dict:
    if RECORD_MIME in output.get("data", {}):
        return {**output, "data": last}
    name = output.get("metadata", {}).get("scrapbook", {}).get("name")
    return {**output, "data": {_GLUED: repr(glued[name])}} if name in glued else output


def _renew(executed: dict, mime: str, html: str) -> None:
    """Write an output that carries `mime` anew, in place."""
    for output in (each for cell in executed["cells"] for each in cell.get("outputs", ())):
        if mime in output.get("data", {}):
            output["data"] = {"text/html": html}


def _named(cell: dict) -> dict:
    """Return a cell; where its code is folded, the fold says what figure it draws."""
    figure = cell["metadata"].get("mystnb", {}).get("figure", {})
    if "hide-input" not in cell["metadata"].get("tags", []) or not figure.get("caption"):
        return cell
    caption = " ".join(re.sub(r"[*`$]|\{\w[\w:]*\}", "", figure["caption"]).split())
    first = re.split(r"(?<=\w{3})[.:;(] ?", caption)[0].strip()
    first = first if " " in first else caption  # "Above: ..."
    told = first if len(first) <= FOLD else first[:FOLD].rpartition(" ")[0].rstrip(",") + "\u00a0…"
    mystnb = {**cell["metadata"]["mystnb"], "code_prompt_show": f"Show the code: {told}"}
    return {**cell, "metadata": {**cell["metadata"], "mystnb": mystnb}}


def _opened_apart(cell: dict) -> list[dict]:
    """Return a cell, and below it the maps and matrices that it opens: a figure's caption is not theirs, too."""
    told = lambda output: "".join(output.get("data", {}).get("text/html", ""))  # noqa: E731
    opened = [each for each in cell["outputs"] if any(mark in told(each) for mark in OPENED)]
    if not opened:
        return [cell]
    # MyST leaves out cells without a source
    below = {"cell_type": "code", "id": f"opened-{cell.get('id')}", "source": "# opened", "execution_count": None,
             "metadata": {"tags": ["remove-input"]}, "outputs": opened}  # fmt: skip
    return [{**cell, "outputs": [each for each in cell["outputs"] if each not in opened]}, below]


def _place(anchor: str) -> dict:
    """Return a cell that marks where one stands that is not shown, between figure and text."""
    return {"cell_type": "markdown", "id": f"at-{anchor}", "metadata": {}, "source": f'<span id="{anchor}"></span>'}


def _link(link: re.Match, published: Container[str]) -> str:
    text, name, part = link.groups(default="")
    # project: finds a page by its name, also where its file lies elsewhere, as a run of one's own does
    return f"[{text}](project:{name}.ipynb{part})" if name in published else text


def cell_anchors(notebook: dict) -> list[str]:
    """Return the anchor of every cell of a notebook, in order."""
    return [f"cell-{cell.get('id')}" for cell in notebook["cells"]]
