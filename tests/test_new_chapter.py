"""The README's steps for a new chapter, taken one by one in a copy of the project."""

import inspect
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import test_notebooks
import yaml
from jupytext.cli import jupytext

from cifar_utils.paths import toc_files
from reproduce.__main__ import main
from reproduce.book.edition import Edition, plan
from reproduce.book.parts import PARTS, Place
from reproduce.cards import render
from reproduce.ledger import REPORTS, load_reports
from reproduce.params import notebook_path

HERE = Path(__file__).resolve().parent.parent
NAME = "a1_q9_new"
CELLS = {
    "parameters": 'profile: str = "smoke"  # smoke, quick or full\n'
    'data: str = "sample"  # sample or real\n'
    'device: str = "cpu"  # auto, cpu or cuda\n'
    "seeds: int = 2  # of nothing yet",
    "start": f'from reproduce import chapter\n\nrun = chapter.start("{NAME}", globals(), "Is it so?")',
    "data": 'run.uses({"name": "A coin", "source": "thrown here"})',
    "report": 'run.report("a1.q9.answer", 42)\nprint(run.verdicts())',
    "finish": "run.finish()",
}


@pytest.fixture
def copy(tmp_path, monkeypatch):
    for folder in ("notebooks", "params", "claims", "cifar_utils"):
        shutil.copytree(HERE / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(HERE / "book", tmp_path / "book", ignore=shutil.ignore_patterns("chapters", "vendor"))
    for file in ("README.md", "_toc.yml", "_config.yml", "pyproject.toml", "Makefile"):
        shutil.copy(HERE / file, tmp_path)
    monkeypatch.setenv("CIFAR_UTILS_ROOT", str(tmp_path))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.delenv("CIFAR_UTILS_RUN_DIR", raising=False)
    monkeypatch.chdir(tmp_path)
    load_reports.cache_clear()
    yield tmp_path
    load_reports.cache_clear()


def write_chapter(project: Path) -> None:
    """Write what the README lists: notebook, parameter files, claims, a line in _toc.yml, an entry on the page."""
    cells = [{"cell_type": "markdown", "id": "title", "metadata": {}, "source": "# A new chapter\n"}]
    for key, source in CELLS.items():
        tags = {"parameters": ["parameters"], "report": ["nbval-check-output"]}.get(key, [])
        cells.append({"cell_type": "code", "id": key, "metadata": {"tags": tags}, "source": source.splitlines(True),
                      "outputs": [], "execution_count": None})  # fmt: skip
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    text = json.dumps({"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}, indent=1)
    (project / "notebooks" / f"{NAME}.ipynb").write_text(text + "\n")
    for profile in ("quick", "full"):
        (project / "params" / profile / f"{NAME}.yml").write_text(f"profile: {profile}\ndata: real\n")
    with (project / "claims/a1.yml").open("a") as claims:
        claims.write(f"  {NAME}:\n    claims:\n      - id: a1.q9.answer\n        where: Question 9\n"
                     "        says: It is 42\n        kind: derivation\n        value: 42\n")  # fmt: skip
    for file, old, new in (
        ("_toc.yml", "          - file: chapters/a1_q2_5_network_b\n", f"          - file: chapters/{NAME}\n"),
        ("book/reports/a1.md", "    notebook: a1_q2_5_network_b\n",
         f"  - part: Question 9\n    about: A new one\n    notebook: {NAME}\n"),
    ):  # fmt: skip
        path = project / file
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, old + new))


def steps() -> list[list[str]]:
    """Return the README's commands for a new chapter, the call of make as the Makefile has it."""
    readme = (HERE / "README.md").read_text()
    block = re.search(r"A new chapter is .*?```sh\n(.*?)```", readme, re.DOTALL)[1]
    lines = [line.split("#")[0].replace("NAME", NAME) for line in block.splitlines()]
    commands = [command.split() for line in lines for command in line.split("&&")]
    assert commands.pop() == ["make", "publish", "PROFILE=quick", f"ONLY={NAME}"]
    publish = [["publish", "--profile", "quick", NAME], ["readme"]]
    return commands + [["python", "-m", "reproduce", *arguments] for arguments in publish]


def test_a_new_chapter_by_the_steps_of_the_readme_stands_in_the_book_and_passes_the_tests(copy):
    before = {p.name for p in copy.iterdir()}
    planned = sum(len(plan(report)) for report in REPORTS)
    write_chapter(copy)
    load_reports.cache_clear()
    for command in steps():
        if command[:3] == ["python", "-m", "reproduce"]:
            assert main(command[3:]) == 0, command  # in this process, for the time it takes to start another
        else:
            assert command[:3] == ["python", "-m", "jupytext"] or command[0] == "mkdir"
            jupytext(command[3:]) if command[0] == "python" else Path(command[-1]).mkdir()
    assert {p.name for p in copy.iterdir()} - before == {"_build", "runs", "results"}, "nothing that git would see"
    assert f"book/chapters/{NAME}.ipynb" in (copy / "README.md").read_text()
    assert f"**Chapters: 1 of {planned + 1} planned**" in part("state")
    assert f"[A new one](project:/chapters/{NAME}.ipynb) (profile `quick`)" in part("chapters", "a1")
    assert f"chapters/{NAME}" in toc_files(yaml.safe_load((copy / "_toc.yml").read_text()))
    passes_what_every_notebook_must_keep_to()
    lint = [sys.executable, "-m", "ruff", "check", "notebooks", "--no-cache"]
    done = subprocess.run(lint, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def part(name: str, *arguments: str) -> str:
    """Return a generated part of a page of the book."""
    template, values = PARTS[name](Place(Edition(), "{}.html".format, lambda *_: ""), *arguments)
    return render(template, **values)


def passes_what_every_notebook_must_keep_to() -> None:
    """Call the tests of test_notebooks.py, which is of the project that it was imported in, for the new chapter."""
    cells = json.loads(notebook_path(NAME).read_text())["cells"]
    known, called = {"name": NAME, "published": NAME, "cells": cells}, 0
    for test in [f for key, f in vars(test_notebooks).items() if key.startswith("test_")]:
        wanted = set(inspect.signature(test).parameters)
        for profile in ("quick", "full") if "profile" in wanted else ("",):
            if wanted and wanted <= {*known, "profile"}:
                test(**{key: {**known, "profile": profile}[key] for key in wanted})
                called += 1
    assert called >= 10
