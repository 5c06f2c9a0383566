"""The record that an executed notebook carries: its own results, inseparable from its pictures."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

from . import params
from .errors import RunError
from .paths import root

#: The mime type of the record among the outputs of a notebook's last cell.
RECORD_MIME = "application/vnd.cifar-utils.record+json"


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


def write_json(path: Path, content: dict) -> None:
    """Write JSON, all or nothing, with a stable order."""
    draft = path.with_suffix(".json.part")
    draft.write_text(json.dumps(content, indent=1, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8")
    os.replace(draft, path)


#: Modules that run around notebooks, and cannot change a number in them.
_AROUND = {"__main__.py", "book.py", "cards.py", "publish.py", "runner.py", "scoreboard.py"}


def code_files() -> list[Path]:
    """Return the package's files that a result depends on."""
    package = root() / "cifar_utils"
    return sorted(p for p in package.rglob("*.py") if p.name not in _AROUND)


def code_fingerprint(name: str) -> str:
    """Return a hash of the package's code and of the notebook's code cells: what a result depends on."""
    digest = hashlib.sha256()
    for path in code_files():
        digest.update(path.relative_to(root()).as_posix().encode() + path.read_bytes())
    notebook = json.loads(params.notebook_path(name).read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            digest.update("".join(cell["source"]).encode())
    return digest.hexdigest()[:16]
