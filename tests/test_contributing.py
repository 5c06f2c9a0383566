"""The steps of CONTRIBUTING.md, one by one in a copy of the project, with the files and commands that it gives."""

import inspect
import json
import os
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
from reproduce import hooks
from reproduce.__main__ import main
from reproduce.book.edition import Edition, plan
from reproduce.book.parts import PARTS, Place
from reproduce.cards import render
from reproduce.ledger import REPORTS, load_reports
from reproduce.params import notebook_path

HERE = Path(__file__).resolve().parent.parent
NAME = "a1_q9_new"
SECTIONS = dict(
    re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", (HERE / "CONTRIBUTING.md").read_text(), re.MULTILINE | re.DOTALL)
)
STEP = re.compile(
    r"(?:New\s+file|In|At\s+the\s+end\s+of)\s+`(?P<file>[^`]+)`(?:,\s+(?P<where>below|above|in\s+place\s+of)\s+"
    r"`(?P<line>[^`]+)`)?:\n\n(?P<fence>`{3,4})\w+\n(?P<text>.*?)^(?P=fence)$",
    re.MULTILINE | re.DOTALL,
)


def write(project: Path, section: str) -> list[Path]:
    """Make the files and changes that a section of CONTRIBUTING.md asks for; return the files."""
    steps = list(STEP.finditer(SECTIONS[section]))
    assert len(steps) == len(re.findall(r"New\s+file|In\s`|At the end of", SECTIONS[section]))
    for step in steps:
        path = project / step["file"]
        if not step["where"]:
            assert path.exists() == step[0].startswith("At"), f"{path} is new only where the text says so"
            path.parent.mkdir(exist_ok=True)
            with path.open("a") as file:
                file.write(step["text"])
            continue
        lines = path.read_text().splitlines(keepends=True)
        at = [number for number, line in enumerate(lines) if step["line"] in line]
        assert len(at) == 1, f"{step['file']} has {step['line']!r} in {len(at)} lines"
        first, behind = {"below": (at[0] + 1,) * 2, "above": (at[0],) * 2}.get(step["where"], (at[0], at[0] + 1))
        path.write_text("".join([*lines[:first], step["text"], *lines[behind:]]))
    return [project / step["file"] for step in steps]


def commands(section: str) -> list[list[str]]:
    """Return the commands that end a section."""
    block = re.search(r"Then:\n\n```sh\n(.*?)```", SECTIONS[section], re.DOTALL)[1]
    return [line.replace('"splits or catalogue"', "splits-or-catalogue").split() for line in block.splitlines()]


@pytest.fixture
def copy(tmp_path, monkeypatch):
    kept = shutil.ignore_patterns("__pycache__", "chapters")
    for folder in ("notebooks", "params", "claims", "cifar_utils", "reproduce", "book", "tests"):
        shutil.copytree(HERE / folder, tmp_path / folder, ignore=kept)
    for file in (
        "README.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "_toc.yml",
        "_config.yml",
        "pyproject.toml",
        "Makefile",
    ):
        shutil.copy(HERE / file, tmp_path)
    monkeypatch.setenv("CIFAR_UTILS_ROOT", str(tmp_path))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.chdir(tmp_path)
    load_reports.cache_clear()
    yield tmp_path
    load_reports.cache_clear()


# ---- a chapter -------------------------------------------------------------------------------------


def test_a_new_chapter_stands_in_the_book_and_passes_the_tests(copy):
    planned = sum(len(plan(report)) for report in REPORTS)
    write(copy, "A chapter")
    before = {p.name for p in copy.iterdir()}
    load_reports.cache_clear()
    *steps, last = commands("A chapter")
    assert last == ["make", "publish", "PROFILE=quick", f"ONLY={NAME}"]
    for command in steps:  # in this process, for the time it takes to start another
        module, arguments = command[2], command[3:]
        assert command[:2] == ["python", "-m"] and module in ("jupytext", "reproduce")
        jupytext(arguments) if module == "jupytext" else main(arguments)
    for arguments in (["publish", "--profile", "quick", NAME], ["readme"]):  # as the Makefile has it
        assert main(arguments) == 0
    assert {p.name for p in copy.iterdir()} - before == {"runs", "results"}, "nothing that git would see"
    assert (copy / "book/chapters" / f"{NAME}.ipynb").exists()
    assert f"**Chapters: 1 of {planned + 1} planned**" in part("state")
    assert f"[The answer](project:/chapters/{NAME}.ipynb) (profile `quick`)" in part("chapters", "a1")
    assert f"chapters/{NAME}" in toc_files(yaml.safe_load((copy / "_toc.yml").read_text()))
    assert "google.colab" in (copy / "book/chapters" / f"{NAME}.ipynb").read_text()
    passes_what_every_notebook_must_keep_to()
    assert not list(hooks.in_notebook(notebook_path(NAME))) and not list(hooks.in_ledger())
    is_laid_out(copy / "notebooks" / f"{NAME}.ipynb")


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


# ---- what else can be added ------------------------------------------------------------------------


def is_laid_out(*files: Path) -> None:
    """Do what `make lint` does to files; nothing may be left that it cannot mend."""
    for arguments in (["check", "--fix"], ["format"]):
        command = [sys.executable, "-m", "ruff", *arguments, "--no-cache", *map(str, files)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout


def test_a_data_set_a_model_a_verdict_and_a_report_pass_their_tests_after_their_steps(copy):
    sections = ("A data set", "A model", "A verdict", "A report")
    changed = {path for section in sections for path in write(copy, section)}
    is_laid_out(*[path for path in changed if path.suffix == ".py"])
    files, chosen = set(), []  # the commands of all sections in one, for the time it takes to start another
    for command in (command for section in sections for command in commands(section)):
        assert command[:3] == ["python", "-m", "pytest"]
        named = [argument for argument in command[3:] if argument.endswith(".py")]
        files |= set(named)
        chosen.append(command[-1] if "-k" in command else Path(named[0]).stem)
    options = ["-k", " or ".join(chosen).replace("-", " "), "-p", "no:cacheprovider", "-p", "no:nbval"]
    environment = {**os.environ, "PYTHONPATH": str(copy)}
    run = [sys.executable, "-m", "pytest", *sorted(files), *options]
    done = subprocess.run(run, cwd=copy, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    toc = yaml.safe_load((copy / "_toc.yml").read_text())
    assert "reports/b1" in toc_files(toc) and toc["parts"][-1]["caption"] == "Back matter"


# ---- before a commit -------------------------------------------------------------------------------


def test_the_hooks_pass_what_is_here_and_name_what_does_not_belong_in_a_source(tmp_path, capsys):
    sources = sorted((HERE / "notebooks").glob("*.ipynb"))
    assert hooks.main(["notebooks", *map(str, sources)]) == 0 and hooks.main(["ledger"]) == 0
    assert capsys.readouterr().out == ""
    notebook = json.loads(sources[0].read_text())
    cell = next(c for c in notebook["cells"] if c["cell_type"] == "code" and not c["outputs"])
    cell["execution_count"] = 3
    cell["source"] = ['import sys\n"google.colab" in sys.modules']
    path = tmp_path / "a_copy.ipynb"
    path.write_text(json.dumps(notebook))
    assert hooks.main(["notebooks", str(path)]) == 1
    said = capsys.readouterr().out
    assert "holds an output or a count of a run" in said and "delete it from the source" in said
    assert hooks.main(["something"]) == 2


def test_the_hooks_call_what_is_installed_and_fetch_nothing():
    (only,) = yaml.safe_load((HERE / ".pre-commit-config.yaml").read_text())["repos"]
    assert only["repo"] == "local" and {hook["language"] for hook in only["hooks"]} == {"system"}
    for hook in only["hooks"]:
        assert hook["entry"].startswith((".venv/bin/python -m ruff ", ".venv/bin/python -m reproduce.hooks "))
