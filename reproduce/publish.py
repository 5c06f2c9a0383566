"""Copy chosen runs into the book: only current runs on real data, and never a smaller one over a larger."""

from __future__ import annotations

import json
import re
from pathlib import Path

import yaml

from cifar_utils.errors import RunError
from cifar_utils.paths import chapter_name, root

from . import freshness, pixels, vectors, versions
from .book import scoreboard
from .book.chapter_page import with_verdicts
from .cards import chapter_rows, ledger_table, verdict_lines
from .params import PROFILES
from .record import RECORD_MIME, record_of, write_json
from .runner import run_dir
from .verdict import Verdict

#: What would show a reader the machine of whoever ran the notebook.
_PRIVATE = re.compile(r"(/(home|root|Users|work|tmp)/|[A-Z]:\\\\Users)[\w.-]*")


def publish(name: str, profile: str, replace: bool = False) -> Path:
    """Copy the run of `name` at `profile` to `book/chapters/NAME.ipynb` and `results/NAME.json`.

    Args:
        name: notebook.
        profile: which run.
        replace: allow a run at a smaller profile to take the place of a published larger one.

    The records of its trainings go to `results/trainings`, and those that no published chapter uses any more go.

    Raises:
        RunError: there is no finished run; it is on sample data, or not current; it ran from files that were not
            committed; it holds an error or a path of this machine; or a run at a larger profile is published already.
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
    again = f"python -m reproduce run {name} --profile {profile}"
    if why := freshness.why_stale(record, executed=executed):
        raise RunError(f"{name}: the run is not current ({why}); run it again before publishing: {again}")
    if (commit := record["environment"]["commit"]).endswith("+"):
        raise RunError(
            f"{name} ran from files that were not committed (commit {commit}), so that nobody could run the same "
            f"again; commit them, and then: {again} --again"
        )
    _refuse_what_should_not_be_seen(source, executed)
    if wrong := [sentence for sentence, holds in record.get("checks", {}).items() if not holds]:
        raise RunError(
            f"{name}: its text says that {wrong[0]}, which this run contradicts; write it anew, and run again."
        )
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
    _write(chapter, results, executed, record)
    _publish_trainings(record)
    return chapter


def refresh(name: str) -> str:
    """Take the present text and ledger over into the published chapter of `name`, without a new run.

    Returns:
        Empty, or why the chapter is not current, and so stays as it is.

    Raises:
        RunError: nothing is published under this name.
    """
    name = chapter_name(name)
    chapter, results = root() / "book" / "chapters" / f"{name}.ipynb", root() / "results" / f"{name}.json"
    if not (chapter.exists() and results.exists()):
        raise RunError(f"{name} is not published yet; publish a run first: python -m reproduce publish {name}")
    executed, record = _read(chapter), _read(results)
    if why := freshness.why_stale(record, executed=executed):
        return why
    _write(chapter, results, executed, record)
    return ""


def _write(chapter: Path, results: Path, executed: dict, record: dict) -> None:
    """Write a chapter with the present text, and its record judged by the present ledger."""
    notebook, configuration = versions.with_present_text(executed, record["notebook"]), root() / "_config.yml"
    if configuration.exists():  # where the book says what repository is its own, Colab can fetch it
        repository = yaml.safe_load(configuration.read_text(encoding="utf-8"))["repository"]["url"]
        notebook = versions.for_colab(notebook, repository)
    rows = [row for row in chapter_rows(record) if row.found]
    found = {
        row.claim.id: {**record["measurements"][row.claim.id], "verdict": row.verdict, "text": row.reproduced}
        for row in rows
    }
    record = {**record, "measurements": found}
    record.pop("waits", None)
    if any(row.verdict == Verdict.NOT_FULL_SCALE for row in rows):
        from .waits import waits  # here: it needs PyTorch

        record["waits"] = waits(record["notebook"])
    last = {"text/html": ledger_table(rows), "text/plain": verdict_lines(record), RECORD_MIME: record}
    published = with_verdicts(notebook, rows, last)
    vectors.lighten(published["cells"])
    pixels.lighten(published["cells"])
    write_json(chapter, published, sort_keys=False)
    write_json(results, record)


def _publish_trainings(record: dict) -> None:
    """Copy the records of a chapter's trainings, and remove those that no published chapter uses or waits for."""
    if record.get("trainings"):
        from .trainings import published  # here: a chapter without any needs no PyTorch

        published(list(record["trainings"]))
    chapters = scoreboard.read_records(root() / "results")
    used = {key for other in chapters.values() for key in other.get("trainings", {})}
    unused = [path for path in (root() / "results" / "trainings").glob("*.json") if path.stem not in used]
    if unused:
        from .trainings import awaited

        waiting = awaited(chapters)
        for path in unused:
            if path.stem not in waiting:
                path.unlink()


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
