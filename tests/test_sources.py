"""Where data is looked for, what is fetched from where, and what a person is told who has something else."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from conftest import notebook
from stand_ins import (
    WRITERS,
    archive_of,
    change,
    expect_sums,
    refusal,
    server,
    tree,
    write_cifar10,
    write_gurmukhi,
    write_mnist,
)

from cifar_utils.data.sets import READERS, load
from cifar_utils.errors import DataError
from cifar_utils.files import sources
from cifar_utils.files.sources import locate, status, sum_of

SETS = tuple(WRITERS)


# ---- where it is looked for ------------------------------------------------------------------------


def test_where_data_is_looked_for(tmp_path, monkeypatch, no_download):
    given, variable, here = tmp_path / "given", tmp_path / "variable", tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    for folder in (given, variable, here / "data"):
        write_cifar10(folder)
    expect_sums(monkeypatch, "cifar10", given)
    monkeypatch.setenv("CIFAR_UTILS_DATA", str(variable))
    assert locate("cifar10", given) == given
    assert locate("cifar10") == variable
    monkeypatch.delenv("CIFAR_UTILS_DATA")
    assert locate("cifar10").resolve() == (here / "data").resolve()
    # a folder that was named is the only one looked at
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("CIFAR_UTILS_DATA", str(tmp_path / "empty"))
    assert str(tmp_path / "empty") in refusal("cifar10", None)


def test_a_home_folder_and_variables_are_expanded(tmp_path, monkeypatch, no_download):
    write_cifar10(tmp_path / "data")
    expect_sums(monkeypatch, "cifar10", tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("~/data", "$HOME/data"):
        assert locate("cifar10", name) == tmp_path / "data"
        monkeypatch.setenv("CIFAR_UTILS_DATA", name)
        assert locate("cifar10") == tmp_path / "data"
    assert tree(tmp_path) == {"data"} | {
        f"data/{f}" for f in (*sources.DATASETS["cifar10"].files, "cifar-10-batches-py")
    }


def test_a_folder_that_does_not_exist_is_an_error_and_is_not_made(tmp_path, monkeypatch, official):
    monkeypatch.setenv("CIFAR_UTILS_DATA", str(tmp_path / "nowhere"))
    assert "CIFAR_UTILS_DATA names" in refusal("mnist", None, download=True)
    message = refusal("mnist", tmp_path / "nowhere", download=True)
    assert message.startswith(f"data_dir names {tmp_path / 'nowhere'}, which does not exist; expected a folder")
    assert not (tmp_path / "nowhere").exists() and not official
    (tmp_path / "file").touch()
    assert "which is a file; expected a folder" in refusal("mnist", tmp_path / "file")
    with pytest.raises(DataError, match="does not exist"):
        status(["mnist"])


@pytest.mark.parametrize("name", SETS)
def test_a_sets_own_folder_stands_for_the_one_above(name, tmp_path, monkeypatch, no_download):
    WRITERS[name](tmp_path)
    expect_sums(monkeypatch, name, tmp_path)
    own = [p for p in tmp_path.rglob("*") if p.relative_to(tmp_path) in sources._OWN_FOLDERS]
    assert own
    for folder in own:
        assert locate(name, folder) == tmp_path
        monkeypatch.chdir(folder)
        assert locate(name, ".").resolve() == tmp_path


def test_a_data_folder_that_has_a_sets_name_stays_itself(tmp_path, monkeypatch, no_download):
    folder = tmp_path / "MNIST"  # as torchvision's MNIST("datasets/MNIST") leaves it
    write_mnist(folder)
    expect_sums(monkeypatch, "mnist", folder)
    assert locate("mnist", folder) == folder


def test_a_file_that_may_not_be_read_is_one_sentence(tmp_path, monkeypatch, no_download):
    write_cifar10(tmp_path)
    expect_sums(monkeypatch, "cifar10", tmp_path)
    original = Path.read_bytes

    def read(path):
        if path.name == "data_batch_2":
            raise PermissionError(13, "Permission denied", str(path))
        return original(path)

    monkeypatch.setattr(Path, "read_bytes", read)
    message = refusal("cifar10", tmp_path)
    assert f"{tmp_path / 'cifar-10-batches-py' / 'data_batch_2'} cannot be read (permission denied)" in message
    with pytest.raises(DataError, match="cannot be read"):
        status(["cifar10"], tmp_path)


@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), OSError(30, "Read-only file system")])
def test_a_folder_that_may_not_be_written_is_one_sentence(error, tmp_path, monkeypatch, official):
    import filelock

    def refuse(*_args, **_kwargs):
        raise error

    monkeypatch.setattr(filelock.FileLock, "acquire", refuse)
    (tmp_path / "mine").mkdir()
    message = refusal("mnist", tmp_path / "mine", download=True)
    assert f"{tmp_path / 'mine'} cannot be written ({error.strerror})" in message and not official


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read and write everything")
def test_real_permissions(tmp_path, official):
    mine = tmp_path / "mine"
    mine.mkdir(mode=0o500)
    assert "cannot be written (Permission denied)" in refusal("mnist", mine, download=True)
    mine.chmod(0o000)
    assert "cannot be read (permission denied)" in refusal("mnist", mine)
    mine.chmod(0o700)


# ---- what is missing -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("download", [True, False])
def test_missing_data_without_a_network(name, download, tmp_path, no_download):
    message = refusal(name, tmp_path, download)
    file, expected = next(iter(sources.DATASETS[name].files.items()))
    assert f"{tmp_path / file} is missing (expected md5 {expected}, found no file)" in message
    assert "set CIFAR_UTILS_DATA (or data_dir) to a folder that has it" in message
    assert f"from {sources.source_of(name).page} into {tmp_path}" in message
    public = name != "ocr_letters"
    assert ("or run where there is a network" in message) == public
    assert ("It has no public address" in message) != public
    assert ("no network in this test" in message) == (download and public)
    assert not tree(tmp_path)  # nothing was left behind


def test_no_connection_is_said_in_words(tmp_path, monkeypatch):
    with server({}) as (url, _):
        pass  # nobody listens there any more
    change(monkeypatch, "circles", urls=(url + "2-ab.zip",))
    assert "found no file); 127.0.0.1 cannot be reached. To mend it, set" in refusal("circles", tmp_path, True)


def test_the_default_folder_is_made_only_for_a_download_that_succeeds(tmp_path, monkeypatch, official):
    monkeypatch.setenv("CIFAR_UTILS_ROOT", str(tmp_path))
    monkeypatch.delenv("CIFAR_UTILS_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    good = sources.DATASETS["circles"].urls
    change(monkeypatch, "circles", urls=(good[0] + "x",))
    assert "404" in refusal("circles", None, download=True)
    assert not (tmp_path / "data").exists()
    change(monkeypatch, "circles", urls=good)
    assert locate("circles") == tmp_path / "data"
    assert tree(tmp_path / "data") == {"circles", "circles/circles.mat"}


@pytest.mark.parametrize("name", ["cifar10", "mnist", "circles", "gurmukhi_digits"])
def test_a_missing_set_is_fetched_from_its_address_and_read(name, tmp_path, official):
    mine = tmp_path / "mine"
    mine.mkdir()
    found = load(name, data_dir=mine, validation=0)
    assert not found.is_sample and len(found.train) and not sources.wrong(name, mine)
    assert not [p for p in tree(mine) if p.startswith(".")]  # no lock, no scratch folder
    asked = list(official)
    load(name, data_dir=mine, validation=0)
    assert official == asked  # the second time from the disk
    if name == "mnist":  # the first address had none of the files
        assert len(asked) == 1 + 4


@pytest.mark.parametrize("name", ["cifar10", "circles", "gurmukhi_digits"])
def test_an_archive_that_lies_there_is_unpacked_without_a_network(name, tmp_path, monkeypatch, no_download):
    WRITERS[name](tmp_path / "official")
    expect_sums(monkeypatch, name, tmp_path / "official")
    mine = tmp_path / "mine"
    mine.mkdir()
    archive = mine / sources.DATASETS[name].archive.replace("*", "main")
    archive.write_bytes(archive_of(name, tmp_path / "official"))
    change(monkeypatch, name, sum=sources.DATASETS[name].sum and sum_of(archive))
    row = status([name], mine)[0]
    assert row.state == "to fetch" and f"{archive} lies there and will be unpacked" in row.sentence
    assert len(load(name, data_dir=mine, validation=0, download=False).train)
    assert status([name], mine)[0].state == "here" and archive.exists()


def test_a_damaged_archive_is_said_and_with_a_network_another_one_is_fetched(tmp_path, monkeypatch, official):
    mine = tmp_path / "mine"
    mine.mkdir()
    archive = mine / "cifar-10-python.tar.gz"
    archive.write_bytes(b"<html>404</html>")
    change(monkeypatch, "cifar10", sum="c58f")
    found = f"{archive} could not be used: it is damaged (expected md5 c58f, found {sum_of(archive)[:4]})"
    assert found in refusal("cifar10", mine)
    assert tree(mine) == {archive.name}
    change(monkeypatch, "cifar10", sum="")
    assert "could not be used: ReadError" in refusal("cifar10", mine)  # without a sum of its own
    assert locate("cifar10", mine) == mine and official


@pytest.mark.parametrize(
    ("name", "file", "words"),
    [
        ("cifar10", "data_batch_1.bin", "CIFAR-10's binary version"),
        ("cifar10", "cifar-10-batches-bin/data_batch_1.bin", "CIFAR-10's binary version"),
        ("cifar10", "cifar-10-batches-mat/data_batch_1.mat", "CIFAR-10's Matlab version"),
        ("cifar10", "cifar-10/trainLabels.csv", "Kaggle's version of CIFAR-10"),
        ("cifar10", "cifar10/train/airplane/0001.png", "CIFAR-10 as PNG files"),
        ("cifar10", "cifar-100-python/train", "CIFAR-100, another set"),
        ("cifar10", "cifar10/batches.meta", "it lies in {folder}/cifar10: move what is there to {folder}/cifar-10-b"),
        ("mnist", "mnist.npz", "Keras's version of MNIST"),
        ("mnist", "raw/train-images.idx3-ubyte", "a dot for a dash"),
        ("mnist", "train-images-idx3-ubyte", "it lies in {folder}: move what is there to {folder}/MNIST/raw"),
        ("ocr_letters", "letter.data.gz", "Stanford's whole set"),
        ("ocr_letters", "ocr_letters/smallTrain.csv", "the homework's smaller part"),
        ("circles", "2-ab/circles.mat", "it lies in {folder}/2-ab: move what is there to {folder}/circles"),
        ("gurmukhi_digits", "repo/handwritten_data/train/0/1.bmp", "repo/handwritten_data may be it: rename it to"),
        ("alexnet", "alexnet-owt-7be5be79.pth", "it lies in {folder}: move what is there to {folder}/weights"),
    ],
)
def test_another_version_of_a_set_is_recognised(name, file, words, tmp_path):
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).touch()
    message = refusal(name, tmp_path)
    assert words.format(folder=tmp_path) in message and sources.source_of(name).page in message


# ---- what is needed, before a long start --------------------------------------------------------------


def test_the_status_says_what_is_here_what_can_be_fetched_and_what_is_put_by_hand(tmp_path, monkeypatch):
    write_gurmukhi(tmp_path)
    expect_sums(monkeypatch, "gurmukhi_digits", tmp_path)
    rows = {row.name: row for row in status([*SETS, *sources.SERVES], tmp_path)}
    assert rows["gurmukhi_digits"].state == "here"
    assert {n for n, row in rows.items() if row.state == "by hand"} == {"ocr_letters"}
    letters = rows["ocr_letters"].sentence
    assert "ocr_letters/largeTrain.csv and ocr_letters/largeValidation.csv" in letters
    assert f"the handout of the neural-network homework of CMU's course 10-601 into {tmp_path}" in letters
    for name in ("cifar10", "mnist", "circles", "convolutions", "class_scores"):
        assert rows[name].state == "to fetch" and "it will be fetched from http" in rows[name].sentence
    assert "alexnet-owt-7be5be79.pth" in rows["convolutions"].sentence.rsplit("/", 1)[1]
    assert tree(tmp_path) == {p for p in tree(tmp_path) if p.startswith("gurmukhi_digits")}  # looking changes nothing
    with pytest.raises(DataError, match="no data set called 'cifar11'"):
        status(["cifar11"])


def test_what_a_notebook_needs_is_read_from_its_code(tmp_path):
    path = tmp_path / "x.ipynb"
    cells = (
        'more = {n: run.load(n) for n in ("circles", "ocr_letters")}\nmodel.load(path)',
        'base = train.Recipe(data="mnist", model=Part("x"))\n# run.load("gurmukhi_digits")',
        'a, b = run.load("cifar10", validation=0), pretrained.convolutions(data)',
        'letters = base.but("ocr_letters", data="gurmukhi_digits")',
        'labels = people.load("cifar-10h", data=data)',
    )
    path.write_text(json.dumps(notebook("x: int = 1", *cells)))
    data = ["circles", "ocr_letters", "mnist", "cifar10", "convolutions", "gurmukhi_digits"]
    assert sources.needed(path) == [*data, "cifar-10h"]


def test_the_published_chapters_used_what_their_notebooks_ask_for():
    root = Path(__file__).parents[1]
    notebooks = sorted((root / "notebooks").glob("*.ipynb"))
    compared = 0
    for path in notebooks:
        result = root / "results" / f"{path.stem}.json"
        if result.exists():
            used = {name.split(",")[0] for name in json.loads(result.read_text(encoding="utf-8"))["data"]}
            known = {*sources.DATASETS, *sources.LABELS}
            assert set(sources.needed(path)) & known == used & known, path.stem
            compared += 1
    assert compared


def test_every_set_in_the_catalogue_has_a_reader_and_all_weights_serve():
    assert set(READERS) == set(sources.DATASETS)
    assert {n for names in sources.SERVES.values() for n in names} == set(sources.WEIGHTS)
    for source in (*sources.DATASETS.values(), *sources.LABELS.values(), *sources.WEIGHTS.values()):
        assert source.files and source.page and set(source.unpacked) <= set(source.files)
