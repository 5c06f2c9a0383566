"""Copy chosen runs into the book: only whole runs on real data, and never a smaller one over a larger."""

from __future__ import annotations

import json
import re
from pathlib import Path

import yaml

from cifar_utils.errors import RunError
from cifar_utils.paths import chapter_name, root

from . import versions
from .params import PROFILES
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
        RunError: there is no finished run; it is on sample data; its code was changed since; its
            parameters are not its profile's; it holds an error or a path of this machine; or a run
            at a larger profile is published already.
    """
    name = chapter_name(name)
    source = run_dir(profile) / f"{name}.ipynb"
    if not source.exists():
        raise RunError(
            f"There is no finished run of {name} at profile {profile}; "
            f"make one with: python -m reproduce run {name} --profile {profile}"
        )
    executed, record = _read(source), record_of(source)
    if record["sample"]:
        raise RunError(
            f"{name} at profile {profile} ran on sample data, which is never published; use quick or full."
        )
    if changed := versions.code_changes(executed, name):
        raise RunError(f"{name}: its code was changed since the run ({changed}); run it again before publishing.")
    if changed := versions.parameter_changes(record):
        raise RunError(
            f"{name}: the run's parameters are not those of profile {record['profile']} ({changed}); run it again "
            f"without -p, or write what you want into the profile's file."
        )
    _refuse_what_should_not_be_seen(source, executed)
    chapter, results = root() / "book" / "chapters" / source.name, root() / "results" / f"{name}.json"
    if results.exists() and not replace:
        published = _read(results)["profile"]
        if PROFILES.index(published) > PROFILES.index(record["profile"]):
            raise RunError(
                f"{name} is published at profile {published}; a {record['profile']} run does not replace it "
                "unless you say --replace."
            )
    chapter.parent.mkdir(parents=True, exist_ok=True)
    results.parent.mkdir(parents=True, exist_ok=True)
    _write(chapter, executed, name)
    write_json(results, record)
    return chapter


def refresh(name: str) -> str:
    """Take the present text of `name` over into its published chapter, without a new run.

    Returns:
        Empty, or why the chapter stays as it is: what was changed in its notebook besides text.

    Raises:
        RunError: nothing is published under this name.
    """
    name = chapter_name(name)
    chapter, results = root() / "book" / "chapters" / f"{name}.ipynb", root() / "results" / f"{name}.json"
    if not (chapter.exists() and results.exists()):
        raise RunError(f"{name} is not published yet; publish a run first: python -m reproduce publish {name}")
    executed, record = _read(chapter), _read(results)
    if changed := versions.code_changes(executed, name) or versions.parameter_changes(record):
        return changed
    _write(chapter, executed, name)
    return ""


def _write(chapter: Path, executed: dict, name: str) -> None:
    """Write a chapter with the present text and, where the book says what repository is its own, Colab's cell."""
    notebook, configuration = versions.with_present_text(executed, name), root() / "_config.yml"
    if configuration.exists():
        repository = yaml.safe_load(configuration.read_text(encoding="utf-8"))["repository"]["url"]
        notebook = versions.for_colab(notebook, repository)
    write_json(chapter, notebook, sort_keys=False)


def _read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def _refuse_what_should_not_be_seen(path: Path, notebook: dict) -> None:
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
