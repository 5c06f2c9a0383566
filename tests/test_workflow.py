"""Around Snakemake and Slurm: names, what is said before and while one waits, and how a long run ends."""

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import PARAMETERS, notebook

from cifar_utils import environment, paths
from cifar_utils.errors import ParameterError
from cifar_utils.files import sources
from reproduce import queue, versions, workflow
from reproduce.__main__ import main
from reproduce.record import code_fingerprint

HERE = Path(__file__).resolve().parent.parent


@pytest.fixture
def with_stranger(project):
    """A project whose table of contents lists one notebook, and a second one that nobody declared."""
    (project / "_toc.yml").write_text("root: index\nparts: [{chapters: [{file: chapters/a1_q1_test}]}]\n")
    (project / "notebooks/Untitled.ipynb").write_text(json.dumps(notebook(PARAMETERS)))
    return project


def test_only_declared_chapters_are_chapters(with_stranger, capsys):
    assert paths.chapters() == ["a1_q1_test"] == workflow.chosen(None)
    assert main(["list"]) == 0 and "Untitled" not in capsys.readouterr().out
    with pytest.raises(
        ParameterError, match="notebooks/Untitled.ipynb is no chapter yet; add chapters/Untitled to _toc"
    ):
        paths.chapter_name("Untitled")


@pytest.mark.parametrize("given", ["a1_q1_test", "notebooks/a1_q1_test.ipynb", "{root}/notebooks/a1_q1_test.ipynb"])
def test_a_notebook_is_named_or_pointed_at(with_stranger, given):
    assert paths.chapter_name(given.format(root=with_stranger)) == "a1_q1_test"


@pytest.mark.parametrize(
    "given", ["", ".", "../../x", "notebooks/X.ipynb", "elsewhere/a1_q1_test.ipynb", "../notebooks/a1_q1_test"]
)
def test_whatever_else_is_given_is_answered_with_the_list(with_stranger, given):
    with pytest.raises(ParameterError, match=r"There is no notebook '.*'\..* Expected one of a1_q1_test\."):
        paths.chapter_name(given)


def test_only_takes_names_of_notebooks_alone(with_stranger):
    assert workflow.chosen("a1_q1_test, a1_q1_test") == ["a1_q1_test"] * 2
    with pytest.raises(ParameterError, match="no notebook '../x'"):
        workflow.chosen("a1_q1_test,../x")


def test_data_that_must_be_got_by_hand_is_said_before_a_long_start(project, monkeypatch, capsys):
    path = project / "notebooks/a1_q1_test.ipynb"
    path.write_text(json.dumps(notebook(PARAMETERS, "run.load('circles')", "run.load('mnist')")))
    states = {"circles": "by hand", "mnist": "to fetch"}
    monkeypatch.setattr(
        sources, "status", lambda names: [sources.Status(n, states[n], f"{n}: get it.") for n in names]
    )
    assert main(["data"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "circles: get it. Needed by a1_q1_test.", "mnist: get it. Needed by a1_q1_test."
    ]  # fmt: skip
    said = ["circles: get it. Until then these fail, and the rest is made: a1_q1_test."]
    assert workflow.missing_by_hand(["a1_q1_test"]) == said
    monkeypatch.setattr(workflow, "_in_own_group", lambda command: 1)
    assert main(["reproduce", "--profile", "quick"]) == 1
    assert capsys.readouterr().err.splitlines() == [
        *said, "No notebook was finished, so there is no book to make; what went wrong stands above."
    ]  # fmt: skip


@pytest.mark.parametrize("command", ["readme", "reproduce", "book", "publish --text a1_q1_test", "run a1_q1_test"])
def test_a_disk_that_cannot_be_written_to_is_one_sentence(project, monkeypatch, capsys, command):
    def refuse(path, *_, **__):
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    marks = [
        f"<!-- {name}:{end} -->" for name in ("results", "summary", "headlines", "beyond") for end in ("begin", "end")
    ]
    (project / "README.md").write_text("".join(marks))
    (project / "results").mkdir()
    chapter = project / "book/chapters/a1_q1_test.ipynb"
    chapter.parent.mkdir(parents=True)
    chapter.write_bytes((project / "notebooks/a1_q1_test.ipynb").read_bytes())
    found = {"value": 1.0, "text": "1", "verdict": "differs"}
    values = {"profile": "smoke", "notebook": "a1_q1_test", "parameters": versions.parameters("a1_q1_test", "smoke"),
              "code": code_fingerprint("a1_q1_test"), "sample": False,
              "measurements": {"a1.q1.accuracy": found, "a1.q1.weights": found}}  # fmt: skip
    (project / "results/a1_q1_test.json").write_text(json.dumps(values))
    monkeypatch.setattr(Path, "write_text", refuse)
    monkeypatch.setattr(Path, "mkdir", refuse)
    assert main(command.split()) == 1
    err = capsys.readouterr().err
    assert "cannot be written: Read-only file system. What was finished before is unharmed" in err
    assert len(err.splitlines()) == 1


QUEUE = """\
17|rule_notebook_wildcards_full_a1_q1_test|8|16000M|1:00:00|Priority
18|rule_notebook_wildcards_smoke_hw3_q1|99|4000M|1:00:00|PartitionConfig
19|of somebody else|1|1M|1:00|None
20|rule_training_wildcards_0123456789abcdef|2|4000M|1:00:00|BadConstraints
"""


def test_jobs_that_wait_in_a_queue_are_said_and_those_that_can_never_start(capsys):
    waits, never, training = workflow.pending(QUEUE)
    assert waits == "a1_q1_test: job 17 waits in the queue (Priority) for 8 CPUs, 16000M of memory and 1:00:00."
    assert (
        never.startswith("hw3_q1: job 18 can never start (PartitionConfig)") and "--set-threads notebook=2" in never
    )
    assert training.startswith("0123456789abcdef: job 20 can never start") and "training:mem_mb=4000" in training


def test_the_slurm_profile_is_complete_and_asks_for_nothing_that_the_plugin_refuses():
    profile = yaml.safe_load((HERE / "profiles/slurm/config.yaml").read_text())
    assert profile["executor"] == "slurm" and profile["slurm-status-command"] == "squeue"
    assert "slurm_extra" not in profile["default-resources"], "the GPU is asked for by the resource gpu"
    assert profile["retries"] >= 1 and profile["rerun-incomplete"]
    pinned = (HERE / "requirements-cluster.txt").read_text()
    assert "snakemake-executor-plugin-slurm==" in pinned and "snakemake-executor-plugin-slurm-jobstep==" in pinned


CHILD = """
import signal, sys, time
signal.signal(signal.SIGINT, lambda *_: sys.exit('ended'))
print('up', flush=True)
time.sleep(60)
"""
# SIGINT is ignored by all that a shell starts in the background, and these tests may be started so
PARENT = f"""
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from reproduce import __main__, workflow
workflow.reproduce = lambda *_: workflow._in_own_group([sys.executable, "-c", {CHILD!r}])
sys.exit(__main__.main(["reproduce"]))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_long_run_that_is_told_to_end_ends_all_it_started_with_one_sentence(number):
    done = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert done.stdout.readline() == "up\n"
    done.send_signal(number)
    _, err = done.communicate(timeout=60)
    assert err.splitlines() == ["ended", "Interrupted; the next run continues from the last epoch saved."]
    assert done.returncode == 130


def test_snakemakes_lock_goes_with_its_owner_and_not_before(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    locks = tmp_path / ".snakemake/locks"
    locks.mkdir(parents=True)
    hold = "from reproduce import workflow; workflow.unlock_if_alone(); print('up', flush=True); input()"
    command = [sys.executable, "-c", hold]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout.readline() == "up\n"
        assert not locks.exists(), "nobody was alive here"
        locks.mkdir()
        workflow.unlock_if_alone()
        assert locks.exists() and "Another make reproduce" in capsys.readouterr().err
        owner.kill()
    os.close(workflow._kept_open.pop())
    workflow.unlock_if_alone()
    assert not locks.exists()
    os.close(workflow._kept_open.pop())


def test_a_copy_inside_another_repository_has_no_commit_of_that_one(tmp_path, monkeypatch):
    git = lambda *a: subprocess.run(  # noqa: E731
        ["git", "-C", str(tmp_path), "-c", "user.name=N", "-c", "user.email=e@x", *a], check=True, capture_output=True
    )
    git("init")
    (tmp_path / "file").write_text("x")
    git("add", "file")
    git("commit", "-m", "of another project")
    monkeypatch.delenv("CIFAR_UTILS_COMMIT", raising=False)
    monkeypatch.setenv("CIFAR_UTILS_ROOT", str(tmp_path))
    assert len(environment.commit()) == 10
    (tmp_path / "unpacked").mkdir()
    monkeypatch.setenv("CIFAR_UTILS_ROOT", str(tmp_path / "unpacked"))
    assert environment.commit() == "unknown"


def test_the_makefile_starts_no_script_that_names_the_folder_of_the_installation():
    """Their first lines are absolute: a project that was moved or renamed would be broken."""
    text = (HERE / "Makefile").read_text()
    started = {word.split("/")[-1] for word in text.split() if word.startswith("$(BIN)/")}
    assert started == {"python"}


def test_trainings_that_take_long_are_jobs_of_their_own_until_they_are_there(project, monkeypatch):
    asked, stamp = [], project / "runs/trainings/0123456789abcdef.done"
    stamp.parent.mkdir(parents=True)
    stamp.touch()

    def own_jobs(profile, names, least):
        asked.append((profile, names, least))
        return {name: ["0123456789abcdef"] for name in names}

    monkeypatch.setattr(queue, "own_jobs", own_jobs)
    workflow.plan_trainings(["a1_q1_test", "a1_q2_test"], ["a1_q1_test"], "quick")
    assert asked == [("quick", ["a1_q1_test"], queue.OWN_JOB)] and not stamp.exists()
    assert workflow.trainings_of("a1_q1_test", "quick") == ["0123456789abcdef"]
    assert workflow.trainings_of("a1_q2_test", "quick") == [] == workflow.trainings_of("a1_q1_test", "full")
    assert workflow.chapter_with("0123456789abcdef", "quick") == "a1_q1_test"
    workflow.plan_trainings(["a1_q1_test"], ["a1_q1_test"], "smoke")
    workflow.plan_trainings(["a1_q1_test", "a1_q2_test"], [], "quick")
    assert len(asked) == 1 and workflow.trainings_of("a1_q1_test", "quick") == []
