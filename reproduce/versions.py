"""What a run was made from, beside what the project says now: one comparison for runner, publisher and book."""

from __future__ import annotations

import json

from . import params


def parameters(name: str, profile: str) -> dict:
    """Return every parameter of `name` as its notebook and `params/PROFILE/NAME.yml` give it now.

    Raises:
        ParameterError: no such notebook or profile, or a value in the file that cannot be.
    """
    defaults = {key: p.default for key, p in params.declared(name).items()}
    return defaults | params.for_profile(name, profile, {"profile": profile})


def parameter_changes(record: dict) -> str:
    """Return in words how a run's parameters differ from its profile's present ones; empty where they do not."""
    then, now = record["parameters"], parameters(record["notebook"], record["profile"])
    differ = [key for key in {**now, **then} if key not in now or key not in then or then[key] != now[key]]
    show = lambda values, key: json.dumps(values[key]) if key in values else "no such parameter"  # noqa: E731
    return "; ".join(f"{key} was {show(then, key)} and is now {show(now, key)}" for key in differ)


def code_changes(executed: dict, name: str) -> str:
    """Return in words what code of the present notebook an executed one did not run; empty where there is none.

    The parameters cell does not count: what it says stands in the record, value by value.
    """
    now = [_source(c) for c in _notebook(name)["cells"] if c["cell_type"] == "code" and not _is(c, "parameters")]
    then = [_source(cell) for cell in code_cells(executed) if not _is(cell, "parameters")]
    if now == then:
        return ""
    if len(now) != len(then):
        return f"it had {len(then)} code cells and has now {len(now)}"
    first = next(at for at, (a, b) in enumerate(zip(now, then, strict=True)) if a != b)
    return f"the code cell that begins {then[first].strip().splitlines()[0][:60]!r} is another now"


def code_cells(executed: dict) -> list[dict]:
    """Return the code cells of an executed notebook that its source has too, in the same order."""
    return [c for c in executed["cells"] if c["cell_type"] == "code" and not _is(c, "injected-parameters")]


def is_present(executed: dict, record: dict) -> bool:
    """Whether a run of the present notebook at its profile would have the same parameters and the same code."""
    return not (parameter_changes(record) or code_changes(executed, record["notebook"]))


def with_present_text(executed: dict, name: str) -> dict:
    """Return an executed notebook with text, captions, alternative texts and parameters cell of the present source.

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
        if _is(cell, "parameters"):
            done["source"] = cell["source"]
        cells += [done, *injected] if _is(cell, "parameters") else [done]
    return {**executed, "cells": cells}


def text_of(notebook: dict) -> list[tuple]:
    """Return what a reader sees of a notebook besides its outputs: its cells' texts and captions."""
    return [(c["cell_type"], _source(c), c["metadata"].get("mystnb")) for c in notebook["cells"]]


def earlier_version_note(record: dict) -> str:
    """Return the Markdown that stands at the top of a page whose notebook was changed after its run."""
    commit, when = record.get("environment", {}).get("commit", "unknown"), record["started"][:10]
    of = when if commit == "unknown" else f"commit {commit.rstrip('+')}, {when}"
    return (
        f"```{{warning}}\nThis page was run with an earlier version of its notebook ({of}); its numbers and verdicts "
        f"are of that run. Rerun: `python -m reproduce run {record['notebook']} --profile {record['profile']}`\n```"
    )


def _notebook(name: str) -> dict:
    return json.loads(params.notebook_path(name).read_text(encoding="utf-8"))


def _is(cell: dict, tag: str) -> bool:
    return tag in cell["metadata"].get("tags", [])


def _source(cell: dict) -> str:
    return "".join(cell["source"])
