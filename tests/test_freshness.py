"""What makes a result stale and what does not, and that everything published is current or says so."""

import json
import re

import pytest
import yaml
from conftest import PARAMETERS, notebook

from cifar_utils import fingerprint
from cifar_utils.paths import root
from cifar_utils.train import training as one
from cifar_utils.train.records import read_record
from reproduce import freshness, ledger, trainings, versions
from reproduce.book import hero, parts, scoreboard
from reproduce.record import code_files, code_fingerprint

NAME = "a1_q1_test"
TEXT = {"cell_type": "markdown", "metadata": {}, "source": ["A sentence."]}
CELLS = ("from cifar_utils.used import f", "x = f(1)", "print(x)")


WRITTEN = (
    "Module(body=[ClassDef(name='Shape', bases=[Name(id='Base', ctx=Load())], keywords=[], body=[Fun"
    "ctionDef(name='f', args=arguments(posonlyargs=[], args=[arg(arg='self'), arg(arg='x'), arg(arg="
    "'y')], kwonlyargs=[], kw_defaults=[], defaults=[Constant(value=None)]), body=[Return(value=Join"
    "edStr(values=[FormattedValue(value=Name(id='x', ctx=Load()), conversion=-1, format_spec=JoinedS"
    "tr(values=[FormattedValue(value=IfExp(test=Name(id='y', ctx=Load()), body=Constant(value='+'), "
    "orelse=Constant(value='')), conversion=-1), Constant(value='.1f')])), Constant(value=' of '), F"
    "ormattedValue(value=Call(func=Attribute(value=Constant(value=', '), attr='join', ctx=Load()), a"
    "rgs=[List(elts=[Constant(value='')], ctx=Load())], keywords=[]), conversion=-1)]))], decorator_"
    "list=[])], decorator_list=[])], type_ignores=[])"
)
SHAPE = """class Shape(Base):
    \'\'\'Docstring.\'\'\'
    def f(self, x: int, y=None) -> str:
        return f"{x:{'+' if y else ''}.1f} of {', '.join([''])}"
"""


def test_code_has_the_same_sum_under_every_version_of_python():
    # as `ast.dump` of Python 3.11 writes it: a record of a GPU machine with Python 3.12 counts on a laptop with 3.11
    assert fingerprint.meaning(SHAPE) == WRITTEN


@pytest.fixture
def run(project):
    """The record of a run of a small project, as it was left."""
    (project / "notebooks" / f"{NAME}.ipynb").write_text(json.dumps(notebook(PARAMETERS, *CELLS)))
    (project / "cifar_utils" / "used.py").write_text(
        '"""A module."""\nfrom cifar_utils.deep import y\nfrom cifar_utils.errors import x\n\n\n'
        "def f(x):\n    return x + y\n"
    )
    (project / "cifar_utils" / "deep.py").write_text("y = 1\n")
    (project / "cifar_utils" / "errors.py").write_text("x = 1\n")
    measured = {"a1.q1.accuracy": {}, "a1.q1.weights": {}}
    record = {"notebook": NAME, "profile": "quick", "parameters": versions.parameters(NAME, "quick"),
              "code": code_fingerprint(NAME), "measurements": measured}  # fmt: skip
    assert freshness.why_stale(record) == ""
    return record


def test_a_notebook_that_adds_a_part_of_its_own_does_not_depend_on_all_the_others(project):
    folder = project / "cifar_utils" / "train"
    folder.mkdir()
    (folder / "parts.py").write_text("from ..deep import y\n\n\ndef register(kind, name):\n    pass\n")
    (project / "cifar_utils" / "deep.py").write_text("y = 1\n")
    adds = ("from cifar_utils.train import parts", 'parts.register("model", "mine")')
    for cells, follows in ((adds, False), ((*adds, 'parts.build("model", "mine")'), True)):
        (project / "notebooks" / f"{NAME}.ipynb").write_text(json.dumps(notebook(PARAMETERS, *cells)))
        used = {path.name for path in code_files(NAME)}
        assert used == ({"parts.py", "deep.py"} if follows else set())


def change(path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    ledger.load_reports.cache_clear()


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        (f"notebooks/{NAME}.ipynb", "x = f(1)", "x = f(  1)  # one"),
        (f"notebooks/{NAME}.ipynb", "# how many", "# independent trainings"),
        (f"notebooks/{NAME}.ipynb", '"cells": [', f'"cells": [{json.dumps(TEXT)}, '),
        (f"notebooks/{NAME}.ipynb", "lr: float = 0.1", "lr: float = 0.7"),  # quick has its own
        ("cifar_utils/used.py", "A module.", "Another sentence."),
        ("cifar_utils/deep.py", "y = 1", "y = 1  # why"),
        ("cifar_utils/used.py", "def f(x):", "def f(x: int) -> int:"),
        ("cifar_utils/errors.py", "x = 1", "x = 2"),  # its text decides no number
        ("cifar_utils/code.py", "x = 1", "x = 2"),  # nobody imports it
        ("claims/a1.yml", "value: 38\n", "value: 12\n"),
        ("claims/a1.yml", "The accuracy is 38 %", "An accuracy of 38 %"),
    ],
)  # fmt: skip
def test_words_layout_other_code_and_changed_claims_rerun_nothing(project, run, file, old, new):
    change(project / file, old, new)
    assert freshness.why_stale(run) == ""


@pytest.mark.parametrize(
    ("file", "old", "new", "why"),
    [
        (
            f"notebooks/{NAME}.ipynb",
            "x = f(1)",
            "x = f(2)",
            "code of its cells, or code of cifar_utils that they use",
        ),
        ("cifar_utils/used.py", "x + y", "x - y", "code of its cells, or code of cifar_utils that they use"),
        ("cifar_utils/deep.py", "y = 1", "y = 2", "code of its cells, or code of cifar_utils that they use"),
        ("params/quick/a1_q1_test.yml", "lr: 1e-3", "lr: 1e-2", "lr was 0.001 and is now 0.01"),
        (f"notebooks/{NAME}.ipynb", "seeds: int = 1", "seeds: int = 2", "seeds was 1 and is now 2"),
        ("claims/a1.yml", "a1.q1.accuracy", "a1.q1.error", "it did not measure a1.q1.error"),
    ],
)
def test_code_parameters_and_what_was_not_measured_make_a_run_stale(project, run, file, old, new, why):
    change(project / file, old, new)
    assert freshness.why_stale(run).startswith(why)


def test_a_number_of_the_report_that_the_experiment_used_is_a_part_of_it(project, run):
    used = {**run, "printed": {"a1.q1.accuracy": 38}}
    assert freshness.why_stale(used) == ""
    change(project / "claims/a1.yml", "value: 38\n", "value: 12\n")
    assert freshness.why_stale(used).startswith(
        "it used the report's numbers for a1.q1.accuracy, 38, which are others"
    )
    assert freshness.why_stale(run) == ""


def test_an_executed_notebook_tells_which_cell_was_changed(project, run):
    executed = notebook(PARAMETERS, *CELLS)
    change(project / "cifar_utils/deep.py", "y = 1", "y = 2")
    assert freshness.why_stale(run, executed=executed) == "code of cifar_utils that it uses was changed"
    change(project / f"notebooks/{NAME}.ipynb", "x = f(1)", "x = f(2)")
    assert freshness.why_stale(run, executed=executed) == "the code cell that begins 'x = f(1)' is another now"


def test_a_run_with_parameters_of_its_own_is_compared_with_these(project, run):
    own = {**run["parameters"], "seeds": 5}
    assert freshness.why_stale(run, own) == "seeds was 1 and is now 5"
    assert freshness.why_stale({**run, "parameters": own}, own) == ""


# ---- what is published ----

PUBLISHED = scoreboard.read_records(root() / "results")
TRAININGS = root() / "results" / "trainings"


def test_the_readmes_table_and_sentence_are_of_the_results():
    text = (root() / "README.md").read_text(encoding="utf-8")
    between = lambda name: re.search(rf"<!-- {name}:begin -->\n(.*)\n<!-- {name}:end -->", text, re.DOTALL)[1]  # noqa: E731
    assert between("results") == scoreboard.readme_table(root() / "results"), "make readme"
    index = (root() / "book/index.md").read_text(encoding="utf-8")
    opening = index[index.index("Five students") : index.index("they saw.")]
    assert opening in text, "README and first page open with the same words"
    picture = (root() / "book/_static/accuracies.svg").read_text(encoding="utf-8")
    assert picture == hero.alone(scoreboard.rows(PUBLISHED)), "make readme"
    counted = scoreboard.of_students(scoreboard.rows(PUBLISHED))
    assert between("summary") == scoreboard.sentence(counted), "make readme"


def test_every_committed_training_is_whole_small_and_used_by_a_published_chapter_or_awaited_by_one():
    used = {key for record in PUBLISHED.values() for key in record.get("trainings", {})}
    committed = {path.stem: read_record(path) for path in TRAININGS.glob("*.json")}
    assert used <= set(committed)
    if ahead := set(committed) - used:  # trained before the rest of their chapter is
        assert ahead <= trainings.awaited(PUBLISHED)
    for key, record in committed.items():
        assert record is not None and record["key"] == key
        assert len(record["history"]["step_loss"]) <= one.FIRST_STEPS


def test_committed_trainings_take_little_room():
    assert sum(path.stat().st_size for path in TRAININGS.glob("*.json")) < 15e6


def test_the_books_own_findings_are_judged_claims_with_figures_that_are_there():
    path = root() / "book" / "findings.yml"
    entries, found = (
        yaml.safe_load(path.read_text(encoding="utf-8")),
        scoreboard.findings(scoreboard.rows(PUBLISHED), path),
    )
    assert len(found) == len(entries) >= 3
    for finding in found:
        if finding.cell:
            chapter = root() / "book/chapters" / f"{finding.row.claim.notebook}.ipynb"
            assert parts.figure_of(chapter, finding.cell).startswith(b"\x89PNG")
