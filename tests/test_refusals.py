"""Calls that make no sense are refused in one sentence, before anything is done."""

import pytest
import torch

from cifar_utils.files import sources
from cifar_utils.paths import chapters
from reproduce import kernels, workflow
from reproduce.__main__ import main

NAME = "a1_q1_softmax_regression"


@pytest.mark.parametrize(
    ("call", "part"),
    [
        (["trainings", NAME, "--workers", "2"], "--workers belongs to trainings run"),
        (["trainings", "verify", "--time-budget", "5"], "--time-budget belongs to trainings run"),
        (["trainings", "run", "--key", "0" * 16, "--workers", "2"], "--key names one training"),
        (["trainings", "export", ""], "needs the name of one file"),
        (["publish", "--text", "--replace", NAME], "nothing for --replace to replace"),
        (["publish", NAME, "--profile", "quikc"], "quick"),
        (["run", NAME, "-p", "seeds=3", "-p", "seeds=4"], "gives seeds twice"),
        (["run", NAME, "-p", "device=cuda:7"], "this machine has"),
    ],
)
def test_a_call_without_sense_is_refused_in_one_sentence(call, part, capsys):
    assert main(call) == 2
    told = capsys.readouterr()
    assert part in told.err and len(told.err.splitlines()) == 1 and not told.out


@pytest.mark.parametrize("budget", ["inf", "1e300", "nan", "0", "-3", "1e-9", "soon"])
def test_a_time_budget_that_no_clock_takes_is_refused(budget, capsys):
    with pytest.raises(SystemExit):
        main(["trainings", "run", f"--time-budget={budget}"])
    assert "is not a number of seconds" in capsys.readouterr().err


def test_a_folder_without_notebooks_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("CIFAR_UTILS_ROOT", str(tmp_path))
    assert not chapters()
    assert main(["list"]) == 2
    err = capsys.readouterr().err
    assert str(tmp_path / "notebooks") in err and "CIFAR_UTILS_ROOT" in err and len(err.splitlines()) == 1


def test_an_export_puts_nothing_in_the_place_of_another_file_and_writes_no_empty_archive(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("CIFAR_UTILS_ROOT", str(tmp_path))
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "one.ipynb").write_text("{}", encoding="utf-8")
    note = tmp_path / "note.txt"
    note.write_text("mine", encoding="utf-8")
    assert main(["trainings", "export", str(note)]) == 2 and note.read_text(encoding="utf-8") == "mine"
    assert main(["trainings", "export", str(tmp_path / "new.tar")]) == 2 and not (tmp_path / "new.tar").exists()
    first, second = capsys.readouterr().err.splitlines()
    assert "is no archive of trainings" in first and "no finished training" in second


@pytest.mark.skipif(torch.cuda.is_available(), reason="here the GPU can be used")
def test_a_gpu_that_a_job_was_given_and_pytorch_cannot_use_is_said(monkeypatch):
    for name in ("SLURM_JOB_GPUS", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    assert kernels.unused_gpu() == ""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert kernels.unused_gpu() == ""
    monkeypatch.setenv("SLURM_JOB_GPUS", "0")
    assert kernels.unused_gpu().startswith("SLURM_JOB_GPUS names a GPU")


def test_data_is_fetched_before_jobs_without_network_begin_and_what_must_be_got_by_hand_is_told(monkeypatch, capsys):
    weights = next(iter(sources.SERVES))
    states = {"mnist": "to fetch", weights: "to fetch", "cifar10": "here", "ocr": "by hand"}
    needed = [(sources.Status(name, state, f"{name} is {state}."), ["one"]) for name, state in states.items()]
    monkeypatch.setattr(workflow, "_needed", lambda names: needed)
    fetched = []
    for name in ("locate", "locate_one_of"):
        monkeypatch.setattr(sources, name, lambda what, how=name: fetched.append((how, what)))
    assert main(["data", "--fetch", NAME]) == 0
    assert fetched == [("locate", "mnist"), ("locate_one_of", weights)]
    assert "ocr is by hand. Needed by one." in capsys.readouterr().out.splitlines()
