"""What a run was made from, beside what the project says now: in words, for `freshness` and its readers."""

from __future__ import annotations

import json
import re

from cifar_utils import fingerprint

from . import params

#: The cell of `for_colab`; it leaves no name behind that a notebook could take for a parameter.
_FOR_COLAB = """\
import sys

if "google.colab" in sys.modules:  # Colab opens this file alone: fetch the project around it
    get_ipython().system(
        "git clone -q {repository} /content/project && pip install -q -e '/content/project[chapters]'"
    )
    sys.path.insert(0, "/content/project")"""


def parameters(name: str, profile: str) -> dict:
    """Return every parameter of `name` as its notebook and `params/PROFILE/NAME.yml` give it now.

    Raises:
        ParameterError: no such notebook or profile, or a value in the file that cannot be.
    """
    defaults = {key: p.default for key, p in params.declared(name).items()}
    return defaults | params.for_profile(name, profile, {"profile": profile})


def parameter_changes(record: dict, now: dict | None = None) -> str:
    """Return in words how a run's parameters differ from `now`, its profile's by default; empty where they do not."""
    then, now = record["parameters"], parameters(record["notebook"], record["profile"]) if now is None else now
    differ = [key for key in {**now, **then} if key not in now or key not in then or then[key] != now[key]]
    show = lambda values, key: json.dumps(values[key]) if key in values else "no such parameter"  # noqa: E731
    return "; ".join(f"{key} was {show(then, key)} and is now {show(now, key)}" for key in differ)


def code_changes(executed: dict, name: str) -> str:
    """Return in words what code of the present notebook an executed one did not run; empty where there is none.

    Layout and comments do not count. Nor does the parameters cell: what it says stands in the record,
    value by value.
    """
    now = [_source(cell) for cell in code_cells(_notebook(name)) if not _is(cell, "parameters")]
    then = [_source(cell) for cell in code_cells(executed) if not _is(cell, "parameters")]
    if len(now) != len(then):
        return f"it had {len(then)} code cells and has now {len(now)}"
    for new, old in zip(now, then, strict=True):
        if new != old and _meaning(new) != _meaning(old):
            return f"the code cell that begins {old.strip().splitlines()[0][:60]!r} is another now"
    return ""


def code_cells(notebook: dict) -> list[dict]:
    """Return the code cells that a source notebook and its executed copies have in common, in order.

    What was put into a copy does not count: its parameters, and the cell for Colab of a published chapter.
    """
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    return [cell for cell in code if not (_is(cell, "injected-parameters") or is_for_colab(cell))]


def for_colab(executed: dict, repository: str) -> dict:
    """Return an executed notebook with a cell below its title that, on Colab, fetches the project around it.

    Colab opens one file alone. The cell does nothing anywhere else, is not shown, and stands in published
    chapters only: that is what a reader opens there.
    """
    title, *rest = [cell for cell in executed["cells"] if not is_for_colab(cell)]
    cell = {"cell_type": "code", "execution_count": None, "id": "colab", "metadata": {"tags": ["remove-cell"]},
            "outputs": [], "source": _FOR_COLAB.format(repository=repository).splitlines(keepends=True)}  # fmt: skip
    return {**executed, "cells": [title, cell, *rest]}


def with_present_text(executed: dict, name: str) -> dict:
    """Return an executed notebook with text, comments, captions and parameters cell of the present source.

    Text holds no number but by glue, so mending a sentence needs no new run. Only for notebooks
    whose code has not changed (`code_changes`).
    """
    ran, cells = code_cells(executed), []
    injected = [cell for cell in executed["cells"] if _is(cell, "injected-parameters")]
    for cell in _notebook(name)["cells"]:
        if cell["cell_type"] != "code":
            cells.append(cell)
            continue
        done = {**ran.pop(0)}
        if "mystnb" in cell["metadata"]:
            done["metadata"] = {**done["metadata"], "mystnb": cell["metadata"]["mystnb"]}
        done["source"] = cell["source"]
        cells += [done, *injected] if _is(cell, "parameters") else [done]
    return {**executed, "cells": cells}


def text_of(notebook: dict) -> list[tuple]:
    """Return what a reader sees of a notebook besides its outputs: its cells' texts and captions."""
    return [(c["cell_type"], _source(c), c["metadata"].get("mystnb")) for c in notebook["cells"]]


def earlier_version_note(record: dict, why: str) -> str:
    """Return the Markdown that stands at the top of a page which is not current.

    Args:
        record: of its run.
        why: in words, as `freshness.why_stale` gives it.
    """
    commit, when = record.get("environment", {}).get("commit", "unknown"), record["started"][:10]
    of = when if commit == "unknown" else f"commit {commit.rstrip('+')}, {when}"
    why = re.sub(r"([\\`*_{}\[\]<>#|$~])", r"\\\1", why)  # it may quote code
    return (
        f"```{{warning}}\nThis page is of an earlier version ({of}): {why}. Its numbers and verdicts are of that run."
        f" Rerun: `python -m reproduce run {record['notebook']} --profile {record['profile']}`\n```"
    )


def _notebook(name: str) -> dict:
    return json.loads(params.notebook_path(name).read_text(encoding="utf-8"))


def is_for_colab(cell: dict) -> bool:
    """Whether a cell is the one that fetches the project on Colab."""
    return '"google.colab" in sys.modules' in _source(cell)


def _meaning(source: str) -> str:
    try:
        return fingerprint.meaning(source)
    except SyntaxError:  # a line for IPython alone, such as %timeit
        return source


def _is(cell: dict, tag: str) -> bool:
    return tag in cell["metadata"].get("tags", [])


def _source(cell: dict) -> str:
    return "".join(cell["source"])
