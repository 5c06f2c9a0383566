"""What may be published, what counts as another version of a notebook, and what is taken over without a new run."""

import json
import shutil
import sys
from types import SimpleNamespace

import pytest
from conftest import PARAMETERS, notebook

from cifar_utils.errors import RunError
from cifar_utils.train import Part, Recipe
from cifar_utils.train import training as one
from cifar_utils.train.records import read_record, write_record
from reproduce import freshness, ledger, publish, trainings, versions
from reproduce.record import RECORD_MIME, code_fingerprint, record_of

NAME = "a1_q1_test"
CELLS = ("x = 1", "print(x)")
RECIPE = Recipe("cifar10", Part("tanh", hidden=8), epochs=1, sample=True)


def cell(path, tag: str) -> dict:
    return next(c for c in json.loads(path.read_text())["cells"] if tag in c["metadata"].get("tags", []))


def edit(path, change) -> None:
    content = json.loads(path.read_text())
    change(content["cells"])
    path.write_text(json.dumps(content))


@pytest.fixture
def source(project):
    path = project / "notebooks" / f"{NAME}.ipynb"
    path.write_text(json.dumps(notebook(PARAMETERS, *CELLS)))
    return path


def finished(project, profile: str, commit: str = "0123456789", trainings: tuple = ()):
    """Write a finished run as the runner would leave it, on real data; return its path."""
    executed = notebook(PARAMETERS, *CELLS)
    found = {"value": 38.2, "low": None, "high": None, "n": 1, "verdict": "reproduced", "text": "38.2 %"}
    measured = {"a1.q1.accuracy": found, "a1.q1.weights": {**found, "value": 30730.0, "text": "30,730"}}
    injected = {**notebook("lr = 0.001")["cells"][0], "metadata": {"tags": ["injected-parameters"]}}
    executed["cells"].insert(1, injected)
    executed["metadata"]["papermill"] = {"exception": None}
    record = {"notebook": NAME, "profile": profile, "parameters": versions.parameters(NAME, profile), "sample": False,
              "started": "2026-11-21 10:00 UTC", "measurements": measured, "code": code_fingerprint(NAME),
              "environment": {"commit": commit}, "trainings": {key: 1.0 for key in trainings}}  # fmt: skip
    data = {"text/plain": "nothing private", RECORD_MIME: record}
    executed["cells"][-1]["outputs"] = [{"output_type": "display_data", "metadata": {}, "data": data}]
    path = project / "runs" / profile / f"{NAME}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(executed))
    return path


@pytest.fixture
def run(project, source):
    return finished(project, "quick")


def test_publish_copies_notebook_and_record(project, run):
    chapter = publish.publish(NAME, "quick")
    assert chapter == project / "book/chapters" / f"{NAME}.ipynb"
    assert json.loads((project / "results" / f"{NAME}.json").read_text()) == record_of(chapter) == record_of(run)


def test_a_run_that_contradicts_a_sentence_of_its_page_is_not_published(project, run):
    executed = json.loads(run.read_text())
    executed["cells"][-1]["outputs"][0]["data"][RECORD_MIME]["checks"] = {"it is so": True, "dropout helps": False}
    run.write_text(json.dumps(executed))
    with pytest.raises(RunError, match="its text says that dropout helps, which this run contradicts"):
        publish.publish(NAME, "quick")
    assert not (project / "results" / f"{NAME}.json").exists()


def test_publish_never_lets_quick_replace_full_unless_told(project, run):
    (project / "params/full").mkdir()
    (project / "params/full" / f"{NAME}.yml").write_text("data: real\n")
    finished(project, "full")
    profile = lambda: json.loads((project / "results" / f"{NAME}.json").read_text())["profile"]  # noqa: E731
    publish.publish(NAME, "full")
    with pytest.raises(RunError, match="published at profile full"):
        publish.publish(NAME, "quick")
    assert profile() == "full"
    publish.publish(NAME, "quick", replace=True)
    assert profile() == "quick"


def test_a_published_chapter_fetches_the_project_on_colab_and_nowhere_else(project, source, run, monkeypatch):
    (project / "_config.yml").write_text("repository: {url: https://example.org/a/project}\n")
    edit(source, add_text)
    edit(run, add_text)
    chapter = publish.publish(NAME, "quick")
    title, colab, *_ = json.loads(chapter.read_text())["cells"]
    assert title["cell_type"] == "markdown" and colab["metadata"]["tags"] == ["remove-cell"]
    called, path, names = [], list(sys.path), {"get_ipython": lambda: SimpleNamespace(system=called.append)}
    exec("".join(colab["source"]), names)
    assert not called and sys.path == path
    monkeypatch.setitem(sys.modules, "google.colab", SimpleNamespace())
    monkeypatch.setattr(sys, "path", path)
    exec("".join(colab["source"]), names)
    assert called[0].startswith("git clone -q https://example.org/a/project /content/project && pip install")
    assert set(names) <= {"__builtins__", "get_ipython", "sys"}, "chapter.start takes new names for parameters"
    assert not versions.code_changes(json.loads(chapter.read_text()), NAME)
    assert publish.refresh(NAME) == ""
    assert sum("google.colab" in "".join(c["source"]) for c in json.loads(chapter.read_text())["cells"]) == 1


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"sample": false', '"sample": true', "sample data"),
        ("nothing private", "/home/someone/secret", "path of this machine"),
        ('"exception": null', '"exception": true', "failed run"),
        ("vnd.cifar-utils.record", "vnd.cifar-utils.other", "carries no results"),
    ],
)
def test_publish_refuses_what_should_not_be_seen(project, run, old, new, said):
    text = run.read_text()
    assert old in text
    run.write_text(text.replace(old, new))
    with pytest.raises(RunError, match=said):
        publish.publish(NAME, "quick")
    assert not (project / "book").exists()


def add_text(cells):
    cells.insert(0, {"cell_type": "markdown", "metadata": {}, "source": ["A sentence that was mended."]})


def reword_parameters(cells):
    at = next(i for i, c in enumerate(cells) if "parameters" in c["metadata"].get("tags", []))
    cells[at]["source"] = PARAMETERS.replace("how many", "independent trainings").splitlines(True)


def caption(cells):
    cells[-1]["metadata"]["mystnb"] = {"figure": {"caption": "A better caption."}}


def lay_out(cells):
    cells[-1]["source"] = ["print(\n", "    x,  # what it is\n", ")"]


def change_default(cells):
    at = next(i for i, c in enumerate(cells) if "parameters" in c["metadata"].get("tags", []))
    cells[at]["source"] = PARAMETERS.replace("lr: float = 0.1", "lr: float = 0.5").splitlines(True)


def test_publishing_takes_text_captions_and_the_parameters_cell_from_the_present_notebook(source, run):
    # quick sets lr: its default counts nowhere
    for change in (add_text, reword_parameters, caption, change_default, lay_out):
        edit(source, change)
    chapter = publish.publish(NAME, "quick")
    shown = json.loads(chapter.read_text())["cells"]
    assert "".join(shown[0]["source"]) == "A sentence that was mended."
    assert "lr: float = 0.5" in "".join(cell(chapter, "parameters")["source"])
    assert "".join(cell(chapter, "injected-parameters")["source"]) == "lr = 0.001"
    assert shown[-1]["metadata"]["mystnb"]["figure"]["caption"] == "A better caption." and shown[-1]["outputs"]
    assert "# what it is" in "".join(shown[-1]["source"])


def other_code(cells):
    cells[-1]["source"] = ["print(x + 1)"]


def another_cell(cells):
    cells.append(notebook("y = 2")["cells"][0] | {"metadata": {}})


def other_seeds(cells):
    at = next(i for i, c in enumerate(cells) if "parameters" in c["metadata"].get("tags", []))
    cells[at]["source"] = PARAMETERS.replace("seeds: int = 1", "seeds: int = 7").splitlines(True)


def new_parameter(cells):
    at = next(i for i, c in enumerate(cells) if "parameters" in c["metadata"].get("tags", []))
    cells[at]["source"] = (PARAMETERS + "precision: str = 'auto'  # how exact\n").splitlines(True)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (other_code, "is not current .the code cell that begins 'print.x.' is another now.; run it again"),
        (another_cell, "had 2 code cells and has now 3"),
        (other_seeds, "is not current .seeds was 1 and is now 7"),
        (new_parameter, 'precision was no such parameter and is now "auto"'),
    ],
)
def test_a_run_of_other_code_or_other_parameters_is_not_published_and_says_what_differs(source, run, change, said):
    edit(source, change)
    with pytest.raises(RunError, match=said):
        publish.publish(NAME, "quick")


def test_a_published_chapter_takes_mended_text_over_and_keeps_everything_else(source, run):
    chapter = publish.publish(NAME, "quick")
    before = json.loads(chapter.read_text())
    edit(source, add_text)
    assert publish.refresh(NAME) == ""
    after = json.loads(chapter.read_text())
    assert "".join(after["cells"].pop(0)["source"]) == "A sentence that was mended." and after == before
    edit(source, other_code)
    text = chapter.read_text()
    assert "is another now" in publish.refresh(NAME) and chapter.read_text() == text


def test_a_run_of_another_package_is_not_published(project, run):
    (project / "cifar_utils" / "code.py").write_text("x = 2  # what no cell imports\n")
    publish.publish(NAME, "quick")
    source = project / "notebooks" / f"{NAME}.ipynb"
    for path in (source, run):
        path.write_text(path.read_text().replace("x = 1", "import cifar_utils.code"))
    run.write_text(run.read_text().replace(record_of(run)["code"], code_fingerprint(NAME)))
    publish.publish(NAME, "quick")
    (project / "cifar_utils" / "code.py").write_text("x = 3\n")
    with pytest.raises(RunError, match="is not current .code of cifar_utils that it uses was changed"):
        publish.publish(NAME, "quick")
    assert "code of cifar_utils" in publish.refresh(NAME)


def test_a_run_from_files_that_were_not_committed_is_not_published_and_one_without_git_is(project, source):
    finished(project, "quick", commit="0123456789+")
    with pytest.raises(RunError, match="not committed .commit 0123456789.*commit them, and then: .* --again"):
        publish.publish(NAME, "quick")
    finished(project, "quick", commit="unknown")
    publish.publish(NAME, "quick")


def test_a_changed_claim_is_judged_anew_from_what_was_measured_and_a_new_one_is_not(project, run):
    chapter, ledger_file = publish.publish(NAME, "quick"), project / "claims" / "a1.yml"
    ledger_file.write_text(ledger_file.read_text().replace("value: 38\n", "value: 30\n"))
    ledger.load_reports.cache_clear()
    assert not freshness.why_stale(record_of(chapter))
    assert publish.refresh(NAME) == ""
    record = record_of(chapter)
    assert {key: found["verdict"] for key, found in record["measurements"].items()} == {
        "a1.q1.accuracy": "differs", "a1.q1.weights": "reproduced"
    }  # fmt: skip
    assert record == json.loads((project / "results" / f"{NAME}.json").read_text())
    last = json.loads(chapter.read_text())["cells"][-1]["outputs"][0]["data"]
    assert "differs" in last["text/html"] and "differs" in last["text/plain"]
    more = "      - {id: a1.q1.loss, where: W, says: The loss is 1, kind: setting, value: 1}\n"
    ledger_file.write_text(ledger_file.read_text() + more)
    ledger.load_reports.cache_clear()
    assert publish.refresh(NAME) == "it did not measure a1.q1.loss"


def training(project, recipe, seed: int = 0, code: str | None = None) -> str:
    """Leave the record of a training in the project's store; return its key."""
    now = one.code_of(recipe)
    history = {"train_loss": [1.0], "step_loss": [1.0] * 20, "iterations": 20}
    record = {"key": recipe.key(seed), "recipe": recipe.canonical(), "seed": seed, "history": history,
              "code": code or now, "verified": []}  # fmt: skip
    write_record(project / "runs" / "trainings" / recipe.key(seed) / "record.json", record)
    return recipe.key(seed)


def test_a_chapters_trainings_are_published_with_it_and_go_with_the_last_chapter_that_uses_them(project, source):
    first, second = (training(project, RECIPE, seed) for seed in (0, 1))
    finished(project, "quick", trainings=(first, second))
    publish.publish(NAME, "quick")
    folder = project / "results" / "trainings"
    assert {path.stem for path in folder.iterdir()} == {first, second}
    assert len(read_record(folder / f"{first}.json")["history"]["step_loss"]) == one.FIRST_STEPS
    finished(project, "quick", trainings=(second,))
    publish.publish(NAME, "quick")
    assert {path.stem for path in folder.iterdir()} == {second}
    anew = project / "runs" / "trainings" / second / "record.json"
    write_record(anew, {**read_record(anew), "seconds": 1234.5})
    assert publish.refresh(NAME) == "" and "1234.5" not in (folder / f"{second}.json").read_text()  # only the text
    shutil.rmtree(project / "runs")  # a clone has the committed records alone
    record = record_of(project / "book/chapters" / f"{NAME}.ipynb")
    assert freshness.why_stale(record) == "" == publish.refresh(NAME)
    (folder / f"{second}.json").unlink()
    assert "is neither in runs/trainings nor in results/trainings" in freshness.why_stale(record)


def test_a_training_that_a_published_chapter_waits_for_stays_when_another_is_published(project, source, monkeypatch):
    first, second, ahead, left = (training(project, RECIPE, seed) for seed in range(4))
    asked = []

    def plan(name, profile):
        asked.append((name, profile))
        return [SimpleNamespace(key=ahead)], True

    monkeypatch.setattr(trainings, "plan", plan)
    trainings.published([ahead, left])
    finished(project, "quick", trainings=(first, second))
    publish.publish(NAME, "quick")
    assert {path.stem for path in (project / "results" / "trainings").iterdir()} == {first, second, ahead}
    assert asked == [(NAME, "quick"), (NAME, "full")]


def test_a_run_whose_training_has_other_code_is_not_published_until_that_was_compared(project, source):
    key = training(project, RECIPE, code="of another day")
    finished(project, "quick", trainings=(key,))
    with pytest.raises(RunError, match=f"the code of its training {key} was changed"):
        publish.publish(NAME, "quick")
    path = project / "runs" / "trainings" / key / "record.json"
    write_record(path, {**read_record(path), "verified": [one.code_of(RECIPE)]})
    publish.publish(NAME, "quick")


def test_there_is_nothing_to_mend_before_anything_is_published(project):
    with pytest.raises(RunError, match="a1_q1_test is not published yet"):
        publish.refresh(NAME)
