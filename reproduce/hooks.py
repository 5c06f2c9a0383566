"""What is checked before a commit, beside ruff: `python -m reproduce.hooks notebooks FILES`, and `ledger`.

Quick, and without a network; the tests check the same and more.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

from cifar_utils.errors import CifarUtilsError
from cifar_utils.paths import root

from . import schema
from .ledger import load_reports


def in_notebook(path: Path) -> Iterator[str]:
    """Yield what a source notebook holds that belongs to a run: outputs, counts, and what publishing adds."""
    for number, cell in enumerate(json.loads(path.read_text(encoding="utf-8"))["cells"]):
        tags = cell["metadata"].get("tags", [])
        if cell["cell_type"] != "code" or "nbval-check-output" in tags:
            continue
        if cell["outputs"] or cell["execution_count"] is not None:
            yield (
                f"{path.name}: cell {number} holds an output or a count of a run; clear it "
                f"(python -m reproduce store {path.stem} keeps what tests compare)."
            )
        if "google.colab" in "".join(cell["source"]) or "injected-parameters" in tags:
            yield f"{path.name}: cell {number} is one that a run or publishing adds; delete it from the source."


def in_ledger() -> Iterator[str]:
    """Yield what is wrong with `claims/`, or with the schema beside it."""
    try:
        load_reports()
    except CifarUtilsError as error:
        yield str(error)
    written = root() / "claims" / "schema.json"
    if not written.exists() or written.read_text(encoding="utf-8") != schema.text():
        yield "claims/schema.json is not what the model gives; run: python -m reproduce.schema > claims/schema.json"


def main(arguments: list[str]) -> int:
    """Print every problem; return 1 where there is one, 2 for a call that is not understood."""
    match arguments:
        case ["notebooks", *files]:
            problems = [problem for file in files for problem in in_notebook(Path(file))]
        case ["ledger", *_]:
            problems = list(in_ledger())
        case _:
            print("Expected: python -m reproduce.hooks notebooks FILES, or ledger", file=sys.stderr)
            return 2
    print(*problems, sep="\n", end="\n" * bool(problems))
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
