"""Damaged files are replaced, and nothing in them is run; one process of several downloads."""

from __future__ import annotations

import gzip
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from stand_ins import WRITERS, expect_sums, refusal, server, tree, write_cifar10, write_gurmukhi, write_mnist

from cifar_utils.data.sets import load
from cifar_utils.errors import DataError
from cifar_utils.files import sources
from cifar_utils.files.sources import locate, status, sum_of

# ---- what is damaged -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["cifar10", "mnist", "circles", "gurmukhi_digits"])
def test_a_damaged_file_is_moved_aside_and_fetched_again(name, tmp_path, official):
    mine = tmp_path / "mine"
    WRITERS[name](mine)
    last, expected = list(sources.DATASETS[name].files.items())[-1]
    file = mine / last
    victim = file / "train" / "3" / "1.bmp" if file.is_dir() else file
    victim.write_bytes(victim.read_bytes()[:-8])  # an interrupted unpacking
    bad = sum_of(file)
    assert f"{file} is damaged (expected md5 {expected}, found {bad})" in refusal(name, mine)
    assert file.exists() and not official  # nothing is moved where nothing better is at hand
    row = status([name], mine)[0]
    assert row.state == "to fetch" and "is damaged; it will be fetched from http" in row.sentence
    assert locate(name, mine) == mine and not sources.wrong(name, mine)
    assert sum_of(file.with_name(file.name + ".damaged")) == bad
    if name == "mnist":
        assert set(official) == {f"gone/{file.name}", file.name}  # and only that one
    victim.write_bytes(b"again")
    locate(name, mine)
    assert file.with_name(file.name + ".damaged2").exists() and not sources.wrong(name, mine)


def test_damaged_mnist_unpacked_by_hand_is_replaced_by_the_archive(tmp_path, official):
    mine = tmp_path / "mine"
    write_mnist(mine)
    packed = mine / "MNIST" / "raw" / "t10k-labels-idx1-ubyte.gz"
    raw = packed.with_suffix("")
    raw.write_bytes(gzip.decompress(packed.read_bytes())[:-1])
    packed.unlink()
    assert f"{raw} is damaged" in refusal("mnist", mine)
    locate("mnist", mine)
    assert packed.exists() and not raw.exists() and raw.with_name(raw.name + ".damaged").exists()


def test_a_download_with_a_wrong_sum_changes_nothing(tmp_path, monkeypatch, official):
    mine = tmp_path / "mine"
    write_cifar10(mine)
    file = mine / "cifar-10-batches-py" / "data_batch_3"
    file.write_bytes(b"half")
    before = tree(mine)
    monkeypatch.setitem(sources.DATASETS["cifar10"].files, "cifar-10-batches-py/data_batch_3", "0" * 32)
    message = refusal("cifar10", mine, download=True)
    assert f"data_batch_3 in it is damaged (expected md5 {'0' * 32}, found" in message and official
    assert tree(mine) == before and file.read_bytes() == b"half"


def test_what_a_killed_download_left_is_cleared_away(tmp_path, official):
    mine = tmp_path / "mine"
    (mine / ".mnist-abc" / "unpacked").mkdir(parents=True)
    (mine / ".mnist.lock").touch()  # a lock is held by a process, not by its file
    locate("mnist", mine)
    assert not [p for p in tree(mine) if p.startswith(".")]


def test_a_pickle_is_not_opened_before_its_sum_is_right(tmp_path, monkeypatch, no_download):
    write_cifar10(tmp_path)
    expect_sums(monkeypatch, "cifar10", tmp_path)

    class Malicious:
        def __reduce__(self):
            return Path.touch, (tmp_path / "executed",)

    (tmp_path / "cifar-10-batches-py" / "data_batch_3").write_bytes(pickle.dumps(Malicious()))
    with pytest.raises(DataError, match="damaged"):
        load("cifar10", data_dir=tmp_path)
    assert not (tmp_path / "executed").exists()


def test_strangers_among_the_digits_are_passed_over_or_named(tmp_path, monkeypatch, no_download):
    write_gurmukhi(tmp_path)
    expect_sums(monkeypatch, "gurmukhi_digits", tmp_path)
    digits = tmp_path / "gurmukhi_digits"
    before = load("gurmukhi_digits", data_dir=tmp_path)
    for name in ("train/3/Thumbs.db", "val/0/.DS_Store", "readme.txt", "train/readme.txt", "val/7/._1.bmp"):
        (digits / name).write_bytes(b"not an image")
    (digits / "train" / "3" / ".ipynb_checkpoints").mkdir()
    (digits / "train" / "3" / ".ipynb_checkpoints" / "1-checkpoint.bmp").write_bytes(b"not an image")
    (digits / "train" / ".ipynb_checkpoints").mkdir()
    after = load("gurmukhi_digits", data_dir=tmp_path)
    assert (before.train.x == after.train.x).all() and before.train.y.tolist() == after.train.y.tolist()
    copy = digits / "val" / "9" / "1 (copy).bmp"
    copy.write_bytes((digits / "val" / "9" / "1.bmp").read_bytes())
    assert f"{copy} is none of its files" in refusal("gurmukhi_digits", tmp_path)


def test_folders_of_digits_may_be_symbolic_links(tmp_path, monkeypatch, no_download):
    write_gurmukhi(tmp_path / "disk")
    expect_sums(monkeypatch, "gurmukhi_digits", tmp_path / "disk")
    digits = tmp_path / "mine" / "gurmukhi_digits"
    digits.mkdir(parents=True)
    for part in ("train", "val"):
        (digits / part).symlink_to(tmp_path / "disk" / "gurmukhi_digits" / part)
    found = load("gurmukhi_digits", data_dir=tmp_path / "mine")
    assert found.train.y.tolist() == [d for d in range(10) for _ in range(2)] and len(found.val) == 20


# ---- several processes -----------------------------------------------------------------------------

ASK = """
import sys
from dataclasses import replace
from cifar_utils.files import sources
folder, url, sums = sys.argv[1], sys.argv[2], eval(sys.argv[3])
sources.DATASETS["mnist"] = replace(sources.DATASETS["mnist"], files=sums, urls=(url,))
print(sources.locate("mnist", folder))
"""


def test_of_three_processes_one_downloads_and_the_others_wait(tmp_path, monkeypatch):
    write_mnist(tmp_path / "official")
    expect_sums(monkeypatch, "mnist", tmp_path / "official")
    files = {p.name: p.read_bytes() for p in (tmp_path / "official").rglob("*.gz")}
    (tmp_path / "mine").mkdir()
    with server(files, delay=0.1) as (url, asked):
        command = [sys.executable, "-c", ASK, str(tmp_path / "mine"), url, repr(sources.DATASETS["mnist"].files)]
        pipe = subprocess.PIPE
        started = [subprocess.Popen(command, stdout=pipe, stderr=pipe) for _ in range(3)]
        answers = [(p.communicate(timeout=60), p.returncode) for p in started]
    assert [code for _, code in answers] == [0, 0, 0], answers
    assert {out.decode().strip() for (out, _), _ in answers} == {str(tmp_path / "mine")}
    assert sorted(asked) == sorted(files)  # each file once
    assert not [p for p in tree(tmp_path / "mine") if p.startswith(".")]
