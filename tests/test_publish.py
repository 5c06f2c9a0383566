"""What may be published, what counts as another version of a notebook, and what is taken over without a new run."""

import json
import sys
from types import SimpleNamespace

import pytest
from conftest import PARAMETERS, notebook

from cifar_utils.errors import RunError
from reproduce import publish, versions
from reproduce.record import RECORD_MIME, record_of

NAME = "a1_q1_test"
CELLS = ("x = 1", "print(x)")


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


def finished(project, profile: str):
    """Write a finished run as the runner would leave it, on real data; return its path."""
    executed = notebook(PARAMETERS, *CELLS)
    injected = {**notebook("lr = 0.001")["cells"][0], "metadata": {"tags": ["injected-parameters"]}}
    executed["cells"].insert(1, injected)
    executed["metadata"]["papermill"] = {"exception": None}
    record = {"notebook": NAME, "profile": profile, "parameters": versions.parameters(NAME, profile), "sample": False,
              "started": "2026-11-21 10:00 UTC", "measurements": {}}  # fmt: skip
    data = {"text/plain": "nothing private", RECORD_MIME: record}
    executed["cells"][-1]["outputs"] = [{"output_type": "display_data", "metadata": {}, "data": data}]
    path = project / "runs" / profile / f"{NAME}.ipynb"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(executed))
    return path


@pytest.fixture
def run(project, source):
    return finished(project, "quick")


def test_publish_copies_notebook_and_record(project, run):
    chapter = publish.publish(NAME, "quick")
    assert chapter == project / "book/chapters" / f"{NAME}.ipynb"
    assert json.loads((project / "results" / f"{NAME}.json").read_text()) == record_of(chapter) == record_of(run)


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
        (other_code, "code was changed since the run .*'print.x.' is another now"),
        (another_cell, "had 2 code cells and has now 3"),
        (other_seeds, "not those of profile quick .seeds was 1 and is now 7"),
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


def test_there_is_nothing_to_mend_before_anything_is_published(project):
    with pytest.raises(RunError, match="a1_q1_test is not published yet"):
        publish.refresh(NAME)
