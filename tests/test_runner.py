"""The runner and the command line, on small projects made in a temporary folder."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from safetensors import safe_open

from cifar_utils.errors import RunError
from reproduce import params, runner
from reproduce.__main__ import main
from reproduce.ledger import load_reports
from reproduce.publish import publish

HERE = Path(__file__).resolve().parent.parent
PARAMETERS = 'profile: str = "smoke"\ndata: str = "real"\ndevice: str = "cpu"\nseeds: int = 1\nlr: float = 0.1'
RECORD = """
import json
from IPython.display import display
from reproduce.record import code_fingerprint
record = {"notebook": "NAME", "profile": profile, "parameters": {"profile": profile, "data": data, "device": device,
          "seeds": seeds, "lr": lr}, "sample": data == "sample", "code": code_fingerprint("NAME"),
          "measurements": {}, "data": {}, "operations": 0}
display({"text/plain": "done", "application/vnd.cifar-utils.record+json": record}, raw=True)
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """An empty project; the runner, and the kernels that it starts, take it for theirs."""
    tmp_path = tmp_path / "a project"
    for folder in ("notebooks", "params/quick", "params/full", "claims"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "claims" / "a1.yml").write_text("title: T\ncourse: C\nnotebooks: {}\n")
    monkeypatch.setenv("CIFAR_UTILS_ROOT", str(tmp_path))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    load_reports.cache_clear()
    yield tmp_path
    load_reports.cache_clear()


def write_notebook(project: Path, name: str, *cells: str, record: bool = True) -> Path:
    notebook = nbformat.v4.new_notebook()
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    first = nbformat.v4.new_code_cell(PARAMETERS)
    first.metadata["tags"] = ["parameters"]
    notebook.cells = [first, *(nbformat.v4.new_code_cell(source) for source in cells)]
    if record:
        notebook.cells.append(nbformat.v4.new_code_cell(RECORD.replace("NAME", name)))
    path = project / "notebooks" / f"{name}.ipynb"
    nbformat.write(notebook, path)
    return path


def test_a_run_leaves_an_executed_notebook_and_its_record(project, monkeypatch):
    write_notebook(project, "a1_one", "import os, sys", "print(seeds, lr, type(lr).__name__)",
                   "print(os.environ['MKL_NUM_THREADS'], 'thread of', sys.executable)")  # fmt: skip
    (project / "params/quick/a1_one.yml").write_text("lr: 1e-3\nseeds: 2\n")
    other = project / "share/kernels/python3"
    other.mkdir(parents=True)
    (other / "kernel.json").write_text('{"argv": ["/bin/false"], "display_name": "another", "language": "python"}')
    monkeypatch.setenv("JUPYTER_PATH", str(project / "share"))
    path = runner.run("a1_one", "quick", threads=1)
    assert path == project / "runs/quick/a1_one.ipynb"
    record = json.loads((project / "runs/quick/a1_one.json").read_text())
    assert record["parameters"] == {"profile": "quick", "data": "real", "device": "cpu", "seeds": 2, "lr": 0.001}
    text = path.read_text()
    assert "2 0.001 float" in text  # 1e-3 came from YAML as text
    assert f"1 thread of {sys.executable}" in text, (
        "the kernel is this environment's, whatever JUPYTER_PATH calls python3"
    )
    assert str(project) not in text, "no path of this machine in what may be published"
    assert sorted(p.name for p in path.parent.iterdir()) == ["a1_one.ipynb", "a1_one.json", "a1_one.lock"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "a1_one", "--profile", "quik"], "Did you mean 'quick'?"),
        (["run", "a1_one", "-p", "sedes=3"], "Did you mean 'seeds'?"),
        (["run", "a1_one", "-p", "seeds=many"], "expected int"),
        (["run", "a1_one", "-p", "seeds"], "is not name=value"),
        (["run", "a1_on"], "Did you mean 'a1_one'?"),
        (["run", "../../x"], "There is no notebook '../../x'. Expected one of a1_one."),
        (["run", "notebooks/X.ipynb"], "There is no notebook 'notebooks/X.ipynb'. Expected one of a1_one."),
        (["publish", "../a1_one"], "There is no notebook '../a1_one'."),
        (["store", "runs/a1_one.ipynb"], "There is no notebook 'runs/a1_one.ipynb'."),
        (["data", "a1_two"], "There is no notebook 'a1_two'."),
        (["reproduce", "--only", "a1_two"], "There is no notebook 'a1_two'."),
        (["run", "a1_one", "--profile", "full"], "needs params/full/a1_one.yml"),
        (["trainings", "a1_two"], "There is no notebook 'a1_two'."),
        (["trainings", "run", "a1_two"], "There is no notebook 'a1_two'."),
        (["trainings", "run", "--key", "0123", "--profile", "smoke"], "No chapter has a training 0123"),
    ],
)
def test_a_wrong_call_is_refused_in_one_sentence(project, capsys, arguments, said):
    write_notebook(project, "a1_one")
    assert main(arguments) == 2
    err = capsys.readouterr().err
    assert said in err and len(err.strip().splitlines()) == 1
    assert not (project / "runs").exists() or not list((project / "runs").rglob("*.ipynb"))


def test_a_notebook_that_raises_is_not_published(project):
    write_notebook(project, "a1_bad", "x = 1", "raise ValueError('a number too many')")
    assert main(["run", "a1_bad"]) == 1
    left = sorted(p.name for p in (project / "runs/smoke").glob("*.*"))
    assert left == ["a1_bad.failed.ipynb", "a1_bad.lock"]
    with pytest.raises(RunError, match="no finished run of a1_bad"):
        publish("a1_bad", "smoke")


def test_the_failing_cell_is_told_in_one_screen(project, capsys):
    write_notebook(project, "a1_bad", "def deep(n):\n    return deep(n - 1) if n else 1 / 0\ndeep(80)")
    assert main(["run", "a1_bad"]) == 1
    err = capsys.readouterr().err
    assert "ZeroDivisionError" in err and "deep(80)" in err and "a1_bad.failed.ipynb" in err
    assert len(err.splitlines()) < 40 and "\x1b" not in err


def test_a_traceback_that_ipython_cannot_format_is_told_too(project, capsys):
    (project / "page.j2").write_text("{{ 1 / 0 }} (a bracket that is left open\n")
    load = "from jinja2 import Environment, FileSystemLoader\npages = Environment(loader=FileSystemLoader('.'))"
    write_notebook(project, "a1_bad", f"{load}\npages.get_template('page.j2').render()")
    assert main(["run", "a1_bad"]) == 1
    assert "ZeroDivisionError: division by zero" in capsys.readouterr().err


TRAIN = """
import os, signal
from torch.optim.lr_scheduler import LambdaLR
from cifar_utils.train import SGD, Part, Recipe, parts
from reproduce import chapter

@parts.register("schedule", "deadly")
def deadly(optimizer, per_epoch, epochs):
    class Killer(LambdaLR):
        def step(self, *a):
            super().step(*a)
            if self.last_epoch == 4 and os.environ.get("KILL_ME"):
                os.kill(os.getpid(), signal.SIGKILL)
    return Killer(optimizer, lambda e: 0.9**e), "epoch"

run = chapter.start("a1_killed", globals(), "does it come back?")
recipe = Recipe("cifar10", Part("tanh", hidden=8), SGD(lr), 64, epochs=6, schedule="deadly")
history = run.train(recipe)["tanh"][0].history
print("epochs", history.epochs, "loss", history.train_loss, history.evaluations)
"""


def test_a_killed_kernel_continues_from_its_last_epoch_to_the_same_numbers(project, monkeypatch):
    write_notebook(project, "a1_killed", TRAIN, "run.finish()", record=False)
    (project / "params/quick/a1_killed.yml").write_text("data: sample\n")
    store = project / "runs/trainings"

    def numbers() -> str:
        text = runner.run("a1_killed", "quick", again=True).read_text()
        return next(line for line in text.splitlines() if "epochs 6" in line)

    undisturbed = numbers()
    shutil.rmtree(store)
    monkeypatch.setenv("KILL_ME", "1")
    with pytest.raises(RunError, match="kernel died.*Run it again"):
        runner.run("a1_killed", "quick", again=True)
    (saved,) = store.glob("*/state-*.safetensors")
    with safe_open(saved, "np") as file:
        assert len(json.loads(file.metadata()["meta"])["history"]["train_loss"]) == 3
    assert not list(store.glob("*/record.json"))
    monkeypatch.delenv("KILL_ME")
    assert numbers() == undisturbed


def test_store_keeps_outputs_only_where_nbval_compares(project):
    path = write_notebook(project, "a1_one", "print('compared')", "print('not compared')")
    notebook = nbformat.read(path, 4)
    next(c for c in notebook.cells if "'compared'" in c.source).metadata["tags"] = ["nbval-check-output"]
    nbformat.write(notebook, path)
    assert runner.store_outputs("a1_one") == 1
    stored = [(c.source, c.outputs) for c in nbformat.read(path, 4).cells if c.outputs]
    assert [source for source, _ in stored] == ["print('compared')"]


def snakemake(project: Path, *config: str, cores: int = 2) -> str:
    """Call snakemake with an interpreter, and in a project, whose paths have a space."""
    environment = project / "an environment"
    if not environment.exists():
        environment.symlink_to(sys.prefix)
    command = [environment / "bin/python", "-m", "snakemake", "--snakefile", HERE / "Snakefile", "--cores",
               str(cores), "--directory", project, "--config", *(config or ("profile=smoke",))]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "HOME": str(project)})
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_snakemake_reruns_an_edited_notebook_and_nothing_else(project):
    path = write_notebook(project, "a1_first", "import os", "print('threads', os.environ['OMP_NUM_THREADS'])")
    for name in ("a1_second", "a1_other"):
        write_notebook(project, name)
    snakemake(project)
    runs = project / "runs/smoke"
    stamp = lambda: {p.stem: p.stat().st_mtime_ns for p in runs.glob("*.json")}  # noqa: E731
    before = stamp()
    assert (
        set(before) == {"a1_first", "a1_second", "a1_other"} and "threads 1" in (runs / "a1_first.ipynb").read_text()
    )
    # as after a kill -9: locked, and a run finished whose end snakemake did not see
    (project / ".snakemake/locks").mkdir(exist_ok=True)
    (project / ".snakemake/locks/0.output.lock").write_text("runs/smoke/a1_first.done\nruns/smoke/a1_second.done\n")
    (runs / "a1_other.done").unlink()
    told = snakemake(project)
    assert "a1_other: up to date" in told and "a1_first:" not in told and stamp() == before
    notebook = nbformat.read(path, 4)
    notebook.cells.insert(1, nbformat.v4.new_code_cell("edited = True"))
    nbformat.write(notebook, path)
    (runs / "a1_other.ipynb").unlink()  # a stamp without its run is none
    snakemake(project)
    changed = {name for name, when in stamp().items() if when != before[name]}
    assert changed == {"a1_first", "a1_other"}


RECIPES = """
base = Recipe("cifar10", Part("tanh", hidden=8), SGD(lr), batch=64, epochs=2)
ladder = run.train({"narrow": base, "wide": base.but(model=Part("tanh", hidden=16))}, seeds)
"""


def test_long_trainings_are_jobs_of_their_own_and_a_changed_sentence_is_none(project):
    start = "from cifar_utils.train import SGD, Part, Recipe\nfrom reproduce import chapter\n"
    path = write_notebook(project, "a1_long", start + "run = chapter.start('a1_long', globals(), 'q')", RECIPES,
                          "print(ladder.accuracy('wide'))", "run.finish()", record=False)  # fmt: skip
    notebook = nbformat.read(path, 4)
    notebook.cells[2].metadata["tags"] = ["recipes"]
    nbformat.write(notebook, path)
    (project / "params/quick/a1_long.yml").write_text("data: sample\n")
    config = ("profile=quick", "own_job=0")
    told = snakemake(project, *config, cores=1)
    store, runs = project / "runs/trainings", project / "runs/quick"
    assert told.count("rule training:") == 2 == len(list(store.glob("*/record.json"))) and "rule notebook:" in told
    assert "wide, seed 0" in told and "is there" in told
    record = json.loads((runs / "a1_long.json").read_text())
    assert set(record["trainings"]) == {p.parent.name for p in store.glob("*/record.json")}
    notebook.cells.insert(1, nbformat.v4.new_markdown_cell("A sentence that was mended."))
    notebook.cells[-1].source += "  # and a comment"
    nbformat.write(notebook, path)
    assert "Nothing to be done" in snakemake(project, *config, cores=1)
    assert "A sentence that was mended." in (runs / "a1_long.ipynb").read_text()
    assert json.loads((runs / "a1_long.json").read_text()) == record


def test_list_names_every_parameter(project, capsys):
    write_notebook(project, "a1_one")
    assert main(["list"]) == 0
    out = capsys.readouterr().out
    assert "a1_one" in out and all(f"{p}:" in out for p in params.declared("a1_one"))
