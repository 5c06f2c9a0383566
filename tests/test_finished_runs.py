"""What finished runs are worth, on small projects whose notebooks 'run' without a kernel."""

import errno
import json
import threading
import time
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import nbformat
import papermill
import pytest
from conftest import PARAMETERS, notebook
from filelock import FileLock

from cifar_utils.errors import ParameterError, RunError
from reproduce import params, runner
from reproduce.__main__ import main
from reproduce.ledger import load_reports
from reproduce.publish import publish
from reproduce.record import RECORD_MIME, code_fingerprint, record_of


def write_notebook(project: Path, name: str) -> Path:
    path = project / "notebooks" / f"{name}.ipynb"
    content = notebook(PARAMETERS, "print('code')")
    for at, cell in enumerate(content["cells"]):
        cell["id"] = f"cell-{at}"
    path.write_text(json.dumps(content))
    return path


@pytest.fixture
def no_kernel(monkeypatch):
    """Let a notebook 'run' at once without a kernel, or raise `.failure`; `.ran` lists what ran."""
    state = SimpleNamespace(ran=[], failure=None)

    def execute(source, target, parameters, **_):
        if state.failure:
            raise state.failure
        notebook, name = nbformat.read(source, 4), Path(source).stem
        values = {key: parameters.get(key, p.default) for key, p in params.declared(name).items()}
        record = {"notebook": name, "profile": values["profile"], "parameters": values, "sample": False,
                  "code": code_fingerprint(name), "measurements": {}, "environment": {"commit": "unknown"},
                  "started": "2026-11-21 10:00 UTC", "operations": 0}  # fmt: skip
        notebook.cells[-1].outputs = [nbformat.v4.new_output("display_data", {RECORD_MIME: record})]
        now = datetime.now().isoformat()
        notebook.metadata["papermill"] = {"start_time": now, "end_time": now, "exception": None}
        nbformat.write(notebook, target)
        state.ran.append(name)

    monkeypatch.setattr(papermill, "execute_notebook", execute)
    return state


def test_a_run_with_parameters_of_its_own_is_kept_apart_and_never_published(project, no_kernel, capsys):
    write_notebook(project, "a1_one")
    (project / "params/quick/a1_one.yml").write_text("seeds: 5\n")
    runner.run("a1_one", "quick")
    before = (project / "runs/quick/a1_one.ipynb").read_bytes()
    assert main(["run", "a1_one", "--profile", "quick", "-p", "seeds=2", "-p", "lr=0.1"]) == 0
    assert "runs/quick+seeds=2/a1_one.ipynb (apart" in capsys.readouterr().out
    assert (project / "runs/quick/a1_one.ipynb").read_bytes() == before
    assert runner.taken_over("a1_one", "quick")
    assert record_of(publish("a1_one", "quick"))["parameters"]["seeds"] == 5
    assert runner.run("a1_one", "quick", {"seeds": 5}).parent.name == "quick", "the profile's own value is no change"
    with pytest.raises(ParameterError, match="set by --profile"):
        runner.run("a1_one", "quick", {"profile": "full"})


def test_folders_of_parameters_have_names_that_every_disk_takes():
    one, two = ({"a": "../x y"}, {"a": "xy"})
    names = [runner.run_dir("quick", own).name for own in (one, two, {"rates": [0.1] * 60})]
    assert len(set(names)) == 3 and all(len(name) < 100 and "/" not in name and " " not in name for name in names)


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (RuntimeError("Kernel died before replying"), "a1_one: the kernel did not start (Kernel died"),
        (
            OSError(errno.ENOSPC, "No space left on device", "runs/smoke/a1_one.ipynb"),
            "No space left on device. What",
        ),
        (OSError(errno.EROFS, "Read-only file system", "runs/smoke"), "runs/smoke cannot be written: Read-only"),
        (KeyboardInterrupt(), "Interrupted; the next run continues"),
    ],
)
def test_a_finished_run_stays_until_the_next_one_is_finished(project, no_kernel, capsys, failure, said):
    write_notebook(project, "a1_one")
    path = runner.run("a1_one")
    before = path.read_bytes(), path.with_suffix(".json").read_bytes()
    no_kernel.failure = failure
    assert main(["run", "a1_one", "--again"]) in (1, 130)
    err = capsys.readouterr().err
    assert said in err and len(err.strip().splitlines()) == 1
    assert (path.read_bytes(), path.with_suffix(".json").read_bytes()) == before


def test_a_full_disk_while_a_run_is_sealed_leaves_the_old_one_whole(project, no_kernel, capsys, monkeypatch):
    write_notebook(project, "a1_one")
    path = runner.run("a1_one")
    before, write = path.read_bytes(), Path.write_text

    def full(self, text, **options):
        write(self, text[:100], **options)
        raise OSError(errno.ENOSPC, "No space left on device", str(self))

    monkeypatch.setattr(Path, "write_text", full)
    assert main(["run", "a1_one", "--again"]) == 1
    err = capsys.readouterr().err
    assert "No space left on device" in err and len(err.strip().splitlines()) == 1
    assert path.read_bytes() == before and not list(path.parent.glob("*.part"))


def test_a_finished_run_is_found_and_takes_over_text_that_was_mended(project, no_kernel, capsys):
    source = write_notebook(project, "a1_one")
    path = runner.run(str(source))
    notebook = nbformat.read(source, 4)
    notebook.cells.insert(1, nbformat.v4.new_markdown_cell("A sentence that was mended."))
    nbformat.write(notebook, source)
    path.with_suffix(".json").write_text("{}")  # as after a kill between the two files
    assert runner.run("a1_one") == path and no_kernel.ran == ["a1_one"], "not run again"
    assert "A sentence that was mended." in path.read_text()
    assert json.loads(path.with_suffix(".json").read_text())["notebook"] == "a1_one"
    claim = "{id: a1.q.x, where: W, says: S, kind: setting, value: 1}"
    (project / "claims/a1.yml").write_text(f"title: T\ncourse: C\nnotebooks: {{a1_one: {{claims: [{claim}]}}}}\n")
    load_reports.cache_clear()
    assert not runner.taken_over("a1_one", "smoke"), "it did not measure what is asked now"


def test_the_command_line_waits_for_another_run_where_it_is_told_to(project, no_kernel, capsys):
    write_notebook(project, "a1_one")
    path = runner.run("a1_one")
    lock = FileLock(path.with_suffix(".lock"), thread_local=False)
    lock.acquire()
    threading.Timer(0.3, lock.release).start()
    started = time.monotonic()
    assert main(["run", "a1_one", "--wait"]) == 0
    assert time.monotonic() - started > 0.25 and "waiting for another run" in capsys.readouterr().out


def test_a_long_wait_is_announced_with_the_time_that_the_published_run_took(project, no_kernel, capsys):
    write_notebook(project, "a1_one")
    (project / "params/quick/a1_one.yml").write_text("seeds: 5\n")
    (project / "results").mkdir()
    (project / "results/a1_one.json").write_text('{"profile": "quick", "duration_s": 336}')
    runner.run("a1_one", "quick")
    runner.run("a1_one")
    out = capsys.readouterr().out
    assert "at profile quick (the published run took 5.6 min)" in out and "at profile smoke\n" in out


def test_two_runs_at_once_in_one_folder_are_refused(project, no_kernel):
    write_notebook(project, "a1_one")
    (project / "runs/smoke").mkdir(parents=True)
    with FileLock(project / "runs/smoke/a1_one.lock"), pytest.raises(RunError, match="Another run of a1_one"):
        runner.run("a1_one")
    runner.run("a1_one")  # the lock is given back


def test_store_gives_ids_to_the_cells_of_a_notebook_that_colab_saved(project, no_kernel):
    path = write_notebook(project, "a1_one")
    notebook = json.loads(path.read_text())
    notebook["nbformat_minor"] = 0
    for cell in notebook["cells"]:
        del cell["id"]
    path.write_text(json.dumps(notebook))
    runner.store_outputs("a1_one")
    stored = json.loads(path.read_text())
    assert (stored["nbformat"], stored["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in stored["cells"]}) == len(stored["cells"])
    nbformat.validate(stored)
