"""The record that an executed notebook carries: its own results, inseparable from its pictures."""

from __future__ import annotations

import contextlib
import json
import os
import re
from pathlib import Path

from cifar_utils import fingerprint
from cifar_utils.errors import RunError
from cifar_utils.paths import root

from . import params

#: The mime type of the record among the outputs of a notebook's last cell.
RECORD_MIME = "application/vnd.cifar-utils.record+json"

#: The mime type beside a table of settings, which the book writes anew.
SETTINGS_MIME = "application/vnd.reproduce.settings+json"


def record_of(path: Path) -> dict:
    """Return the record that an executed notebook carries.

    Raises:
        RunError: it carries none, so it did not reach its end.
    """
    notebook = json.loads(path.read_text(encoding="utf-8"))
    for cell in reversed(notebook["cells"]):
        for output in cell.get("outputs", []):
            if RECORD_MIME in output.get("data", {}):
                return output["data"][RECORD_MIME]
    raise RunError(f"{path.name} carries no results: its last cell must call finish().")


def write_json(path: Path, content: dict, sort_keys: bool = True) -> None:
    """Write JSON (a record, or a notebook with its keys in their own order), all or nothing."""
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False, sort_keys=sort_keys) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text, all or nothing: on a full disk, or when the process is killed, the old one stays."""
    draft = path.with_name(f"{path.name}.part")
    try:
        draft.write_text(text, encoding="utf-8")
        os.replace(draft, path)
    except OSError:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
        raise


def code_cells(name: str) -> list[str]:
    """Return the code of a notebook's cells but its parameters, whose values stand in every record."""
    notebook = json.loads(params.notebook_path(name).read_text(encoding="utf-8"))
    return [
        "".join(cell["source"])
        for cell in notebook["cells"]
        if cell["cell_type"] == "code" and "parameters" not in cell["metadata"].get("tags", [])
    ]


def code_files(name: str) -> list[Path]:
    """Return the files of `cifar_utils` that a notebook's numbers depend on; the engine's change none."""
    cells = code_cells(name)
    return fingerprint.used_files(cells, root() / "cifar_utils", _registries(cells))


def _registries(cells: list[str]) -> set[str]:
    """Return the file of all parts, for a notebook that only adds its own: a training knows which it used."""
    asked = any(re.search(r"\bparts\.(?!register\b)\w", cell) for cell in cells)
    return set() if asked else {"train/parts.py"}


def code_fingerprint(name: str) -> str:
    """Return a sum over what a notebook's numbers depend on: its code and the code of `cifar_utils` that it uses.

    Comments, docstrings and text do not count.
    """
    cells = code_cells(name)
    return fingerprint.of_code(cells, root() / "cifar_utils", _registries(cells))


def whole_seconds(record: dict) -> float:
    """Return how long a run would have taken without what `run.keep` had from an earlier one."""
    return record["duration_s"] + sum(record.get("kept", {}).values())
