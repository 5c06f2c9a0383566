"""Copy chosen runs into the book: only whole runs on real data, and never a smaller one over a larger."""

from __future__ import annotations

import json
import re
from pathlib import Path

from .errors import RunError
from .params import PROFILES, notebook_path
from .paths import root
from .record import record_of, write_json
from .runner import run_dir

#: What would show a reader the machine of whoever ran the notebook.
_PRIVATE = re.compile(r"(/(home|root|Users|work|tmp)/|[A-Z]:\\\\Users)[\w.-]*")


def publish(name: str, profile: str, replace: bool = False) -> Path:
    """Copy the run of `name` at `profile` to `book/chapters/NAME.ipynb` and `results/NAME.json`.

    Args:
        name: notebook.
        profile: which run.
        replace: allow a run at a smaller profile to take the place of a published larger one.

    Raises:
        RunError: there is no finished run; it is on sample data; it holds an error or a path of this
            machine; its code was changed since; or a run at a larger profile is published already.
    """
    source = run_dir(profile) / f"{name}.ipynb"
    if not source.exists():
        raise RunError(
            f"There is no finished run of {name} at profile {profile}; "
            f"make one with: python -m cifar_utils run {name} --profile {profile}"
        )
    record = record_of(source)
    if record["sample"]:
        raise RunError(
            f"{name} at profile {profile} ran on sample data, which is never published; use quick or full."
        )
    _refuse_what_should_not_be_seen(source)
    chapter, results = root() / "book" / "chapters" / source.name, root() / "results" / f"{name}.json"
    if results.exists() and not replace:
        published = json.loads(results.read_text(encoding="utf-8"))["profile"]
        if PROFILES.index(published) > PROFILES.index(record["profile"]):
            raise RunError(
                f"{name} is published at profile {published}; a {record['profile']} run does not replace it "
                "unless you say --replace."
            )
    chapter.parent.mkdir(parents=True, exist_ok=True)
    results.parent.mkdir(parents=True, exist_ok=True)
    chapter.write_text(_with_present_prose(source, name), encoding="utf-8")
    write_json(results, record)
    return chapter


def _with_present_prose(run: Path, name: str) -> str:
    """Return the executed notebook with the text cells, captions and alternative texts of the present source.

    Text holds no number but by glue, so mending a sentence needs no new run; changed code does.

    Raises:
        RunError: a code cell was changed, added or removed since the run.
    """
    executed = json.loads(run.read_text(encoding="utf-8"))
    source = json.loads(notebook_path(name).read_text(encoding="utf-8"))
    ran = [cell for cell in executed["cells"] if cell["cell_type"] == "code"]
    cells = []
    for cell in source["cells"]:
        if cell["cell_type"] != "code":
            cells.append(cell)
            continue
        while ran and "injected-parameters" in ran[0]["metadata"].get("tags", []):
            cells.append(ran.pop(0))
        if not ran or "".join(ran[0]["source"]) != "".join(cell["source"]):
            raise RunError(f"{name}: its code was changed since the run; run it again before publishing.")
        done = ran.pop(0)
        if "mystnb" in cell["metadata"]:
            done["metadata"]["mystnb"] = cell["metadata"]["mystnb"]
        cells.append(done)
    executed["cells"] = cells
    return json.dumps(executed, indent=1, ensure_ascii=False) + "\n"


def _refuse_what_should_not_be_seen(path: Path) -> None:
    notebook = json.loads(path.read_text(encoding="utf-8"))
    if notebook["metadata"].get("papermill", {}).get("exception"):
        raise RunError(f"{path.name} holds a failed run; run it again.")
    for number, cell in enumerate(notebook["cells"]):
        for output in cell.get("outputs", []):
            if output["output_type"] == "error":
                raise RunError(f"{path.name}: cell {number} holds an error, {output['ename']}; run it again.")
            text = json.dumps(
                {**output, "data": {k: v for k, v in output.get("data", {}).items() if k[:5] != "image"}}
            )
            if found := _PRIVATE.search(text):
                raise RunError(f"{path.name}: the output of cell {number} shows a path of this machine, {found[0]}")
            if output.get("name") == "stderr" and "Warning" in text:
                raise RunError(f"{path.name}: cell {number} shows a warning to its reader; mend its cause first.")
