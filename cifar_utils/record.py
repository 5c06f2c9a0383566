"""The record that an executed notebook carries: its own results, inseparable from its pictures."""

from __future__ import annotations

import ast
import contextlib
import hashlib
import json
import os
from pathlib import Path

from . import params
from .errors import RunError
from .ledger import load_claims
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


#: Modules that run around notebooks, and cannot change a number in them.
_AROUND = {
    "__main__.py", "book.py", "cards.py", "kernels.py", "publish.py", "runner.py", "scoreboard.py", "versions.py",
    "workflow.py",
}  # fmt: skip


def code_files(name: str) -> list[Path]:
    """Return the package's files that a notebook's result depends on: what it imports, and what that imports."""
    cells = json.loads(params.notebook_path(name).read_text(encoding="utf-8"))["cells"]
    code = ["".join(c["source"]) for c in cells if c["cell_type"] == "code"]
    package = root() / "cifar_utils"
    found, waiting = set(), {path for source in code for path in _imported(source, package, package)}
    while waiting:
        path = waiting.pop()
        if path not in found and path.name not in _AROUND:
            found.add(path)
            waiting |= _imported(path.read_text(encoding="utf-8"), path.parent, package)
    return sorted(found)


def _imported(source: str, folder: Path, package: Path) -> set[Path]:
    """Return the package's files that `source`, a module in `folder` or a notebook's cell, imports anywhere in it."""
    modules = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            dotted = [a.name.split(".") for a in node.names]
            modules |= {package.joinpath(*names[1:]) for names in dotted if names[0] == package.name}
        elif isinstance(node, ast.ImportFrom):
            dotted = node.module.split(".") if node.module else []
            if node.level:
                base = folder if node.level == 1 else folder.parents[node.level - 2]
            elif dotted[0] == package.name:
                base, dotted = package, dotted[1:]
            else:
                continue
            base = base.joinpath(*dotted)
            modules |= {base, *(base / a.name for a in node.names)}
    files = {f for m in modules for f in (m.with_suffix(".py"), m / "__init__.py", m.parent / "__init__.py")}
    return {f for f in files if f.is_file()}


def code_fingerprint(name: str) -> str:
    """Return a hash of what a result depends on: the notebook's code cells and the package's code that they use.

    The parameters cell does not count: its values stand in the record.
    """
    digest = hashlib.sha256()
    for path in code_files(name):
        digest.update(path.relative_to(root()).as_posix().encode() + path.read_bytes())
    notebook = json.loads(params.notebook_path(name).read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code" and "parameters" not in cell["metadata"].get("tags", []):
            digest.update("".join(cell["source"]).encode())
    return digest.hexdigest()[:16]


def ledger_fingerprint(name: str) -> str:
    """Return a hash of the claims that a notebook answers, which its page shows and judges."""
    claims = [repr(claim) for claim in load_claims().values() if claim.notebook == name]
    return hashlib.sha256("\n".join(claims).encode()).hexdigest()[:16]
