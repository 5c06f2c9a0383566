from __future__ import annotations

import gzip
import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from stand_ins import expect_sums, write_cifar10, write_circles, write_gurmukhi, write_mnist, write_ocr_letters

from cifar_utils.data import sets as data
from cifar_utils.data import standin as sample
from cifar_utils.data.sets import Split, channel_stats, load, stratified_split
from cifar_utils.errors import DataError, ParameterError
from cifar_utils.files import sources
from cifar_utils.files.sources import sum_of

# ---- sample data -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "shape", "classes", "sizes"),
    [
        ("cifar10", (3, 32, 32), 10, (300, 100, 100)),
        ("mnist", (1, 8, 8), 10, (1297, 200, 300)),
        ("ocr_letters", (1, 8, 8), 10, (1297, 200, 300)),
        ("gurmukhi_digits", (1, 8, 8), 10, (1297, 200, 300)),
        ("circles", (2,), 2, (200, None, 200)),
    ],
)
def test_sample_sets(name, shape, classes, sizes):
    found, again = load(name, data="sample"), load(name, data="sample")
    assert len(found.classes) == classes
    for split, other, size in zip(
        (found.train, found.val, found.test), (again.train, again.val, again.test), sizes, strict=True
    ):
        if size is None:
            assert split is None
            continue
        assert len(split) == size and split.x.shape == (size, *shape)
        assert split.x.dtype == (torch.float32 if name == "circles" else torch.uint8)
        assert split.y.dtype == torch.int64
        assert torch.equal(split.x, other.x) and torch.equal(split.y, other.y)
        counts = torch.bincount(split.y, minlength=classes)
        assert counts.max() - counts.min() <= 0.12 * size / classes
    assert found.is_sample and found.provenance["sample"] is True
    assert found.provenance["source"] == "embedded sample data" and found.provenance["name"] == name
    assert found.provenance["sizes"]["train"] == sizes[0]


def test_sample_images_are_balanced_and_differ_between_splits():
    found = load("cifar10", data="sample")
    assert torch.bincount(found.train.y).tolist() == [sample.SIZES[0] // 10] * 10
    count = sample.SIZES[1]
    assert not torch.equal(found.train.x[:count], found.val.x)
    assert not torch.equal(found.val.x, found.test.x[:count])


# ---- splits ----------------------------------------------------------------------------------


def test_stratified_split_is_disjoint_complete_balanced_and_seeded():
    labels = torch.arange(50_000) % 10
    kept, held = stratified_split(labels, 5_000, seed=0)
    assert (len(kept), len(held)) == (45_000, 5_000)
    assert torch.equal(torch.cat([kept, held]).sort().values, torch.arange(50_000))
    assert torch.bincount(labels[held]).tolist() == [500] * 10
    assert torch.equal(held, held.sort().values)
    assert torch.equal(held, stratified_split(labels, 5_000, seed=0)[1])
    assert not torch.equal(held, stratified_split(labels, 5_000, seed=1)[1])


@pytest.mark.parametrize("count", [0, 100, 101, -1])
def test_stratified_split_refuses_sizes_out_of_range(count):
    with pytest.raises(ParameterError, match="between 1 and 99"):
        stratified_split(torch.arange(100) % 10, count, seed=0)


def test_stratified_split_refuses_an_empty_class():
    with pytest.raises(ParameterError, match="empty class"):
        stratified_split(torch.arange(100) % 10, 3, seed=0)


def test_validation_and_train_images_of_a_load():
    full = load("circles", data="sample")
    part = load("circles", data="sample", validation=50, train_images=80, split_seed=4)
    assert (len(part.train), len(part.val), len(part.test)) == (80, 50, 200)
    assert part.provenance["sizes"] == {"train": 80, "val": 50, "test": 200}
    assert part.provenance["split_seed"] == 4
    rows = lambda s: {tuple(row) for row in s.x.tolist()}  # noqa: E731
    assert not rows(part.train) & rows(part.val)
    assert rows(part.train) | rows(part.val) <= rows(full.train)
    assert torch.bincount(part.train.y).tolist() == [40, 40]
    with pytest.raises(ParameterError, match="Cannot split"):
        load("circles", data="sample", validation=500)


# ---- bad input -------------------------------------------------------------------------------


def test_unknown_name_and_unknown_data():
    with pytest.raises(DataError, match="no data set called 'cifar11'.*cifar10"):
        load("cifar11")
    with pytest.raises(DataError, match="no data set called"):
        sources.locate("cifar11")
    with pytest.raises(ParameterError, match="data is 'samples'; expected 'real' or 'sample'"):
        load("cifar10", data="samples")


def test_nothing_falls_back_to_the_sample(tmp_path, monkeypatch, no_download):
    def never(*_args):
        raise AssertionError("the sample was used without being asked for")

    monkeypatch.setattr(data, "_sample", never)
    for name in sources.DATASETS:
        with pytest.raises(DataError):
            load(name, data_dir=tmp_path)


# ---- readers, on tiny files in the real formats ------------------------------------------------


def test_read_cifar10(tmp_path, monkeypatch):
    write_cifar10(tmp_path)
    expect_sums(monkeypatch, "cifar10", tmp_path)
    found = load("cifar10", data_dir=tmp_path, validation=0)
    assert found.train.x.shape == (20, 3, 32, 32) and found.test.x.shape == (4, 3, 32, 32)
    assert found.val is None and found.train.x.dtype == torch.uint8 and found.train.y.dtype == torch.int64
    raw = pickle.loads((tmp_path / "cifar-10-batches-py" / "data_batch_2").read_bytes(), encoding="latin1")
    assert found.train.x[5, 1, 2, 3] == raw["data"][1, 1024 + 2 * 32 + 3]
    assert found.train.y[4:8].tolist() == [0, 1, 2, 3]
    assert found.classes[3] == "cat" and not found.is_sample
    assert found.provenance["md5"] == sources.DATASETS["cifar10"].files


@pytest.mark.parametrize("packed", ["all", "none", "images"])
def test_read_mnist(packed, tmp_path, monkeypatch, no_download):
    pixels = write_mnist(tmp_path)
    expect_sums(monkeypatch, "mnist", tmp_path)
    for file in list((tmp_path / "MNIST" / "raw").iterdir()):  # as somebody leaves them who unpacks by hand
        if packed == "none" or packed not in file.name and packed == "images":
            file.with_suffix("").write_bytes(gzip.decompress(file.read_bytes()))
            file.unlink()
    found = load("mnist", data_dir=tmp_path, validation=0)
    assert np.array_equal(found.train.x[:, 0].numpy(), pixels["train"])
    assert np.array_equal(found.test.x[:, 0].numpy(), pixels["t10k"])
    assert found.train.y.tolist() == [0, 1, 2, 3, 4] and found.train.y.dtype == torch.int64
    verified = {(p.relative_to(tmp_path)).as_posix(): sum_of(p) for p in (tmp_path / "MNIST" / "raw").iterdir()}
    assert found.provenance["md5"] == verified


def test_read_ocr_letters(tmp_path, monkeypatch):
    bits = np.random.default_rng(1).integers(2, size=(3, 128))
    write_ocr_letters(tmp_path, bits)
    expect_sums(monkeypatch, "ocr_letters", tmp_path)
    found = load("ocr_letters", data_dir=tmp_path)
    assert found.train.x.shape == (3, 1, 16, 8) and found.test is None and len(found.val) == 2
    assert np.array_equal(found.train.x.flatten(1).numpy(), bits * 255)
    assert [found.classes[i] for i in found.train.y] == ["u", "a", "l"]


def test_read_circles(tmp_path, monkeypatch):
    x, _ = write_circles(tmp_path)
    expect_sums(monkeypatch, "circles", tmp_path)
    found = load("circles", data_dir=tmp_path)
    assert found.train.y.tolist() == [0, 1, 1, 0] and found.test.y.tolist() == [1, 0]
    assert found.train.x.dtype == torch.float32
    assert torch.allclose(found.train.x.double(), torch.from_numpy(x[:4]))


def test_read_gurmukhi(tmp_path, monkeypatch):
    write_gurmukhi(tmp_path)
    expect_sums(monkeypatch, "gurmukhi_digits", tmp_path)
    found = load("gurmukhi_digits", data_dir=tmp_path)
    assert found.train.x.shape == (20, 1, 32, 32) and len(found.val) == 20
    assert found.train.y.tolist() == [d for d in range(10) for _ in range(2)]
    with Image.open(tmp_path / "gurmukhi_digits" / "train" / "3" / "2.tiff") as image:
        assert np.array_equal(found.train.x[7, 0].numpy(), np.asarray(image))


def test_image_of_a_wrong_size_in_a_gurmukhi_folder(tmp_path, monkeypatch):
    write_gurmukhi(tmp_path)
    wrong = tmp_path / "gurmukhi_digits" / "train" / "5" / "3.bmp"
    Image.new("L", (30, 32)).save(wrong)
    expect_sums(monkeypatch, "gurmukhi_digits", tmp_path)
    with pytest.raises(DataError, match=r"3\.bmp is 30x32 pixels; expected 32x32"):
        load("gurmukhi_digits", data_dir=tmp_path)


def test_sum_of_a_folder_depends_on_names_and_bytes(tmp_path):
    write_gurmukhi(tmp_path)
    digits = tmp_path / "gurmukhi_digits"
    before = sum_of(digits)
    (digits / "train" / "0" / "1.bmp").rename(digits / "train" / "1" / "3.bmp")
    assert sum_of(digits) != before


# ---- statistics ------------------------------------------------------------------------------


def test_channel_stats_equal_numpy(images):
    mean, std = channel_stats(images)
    x = images.x.numpy() / 255
    assert np.allclose(mean, x.mean((0, 2, 3)), atol=1e-6) and mean.dtype == torch.float32
    assert np.allclose(std, x.std((0, 2, 3)), atol=1e-6)


def test_split_indexing_and_moving(images):
    part = images[torch.tensor([3, 1])]
    assert isinstance(part, Split) and torch.equal(part.x[0], images.x[3]) and part.y.tolist() == [3, 1]
    assert part.to("cpu").x.device.type == "cpu"


# ---- the real sets -----------------------------------------------------------------------------


@pytest.mark.real_data
def test_mnist_unpacked_by_hand_has_the_sums_stated(tmp_path):
    folder = sources.locate("mnist", download=False)
    (tmp_path / "MNIST" / "raw").mkdir(parents=True)
    for file, (other, _) in sources.DATASETS["mnist"].unpacked.items():
        if not (folder / file).exists():
            pytest.skip("MNIST lies here unpacked")
        (tmp_path / other).write_bytes(gzip.decompress((folder / file).read_bytes()))
    assert not sources.wrong("mnist", tmp_path)


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "sizes", "shape", "classes"),
    [
        ("cifar10", {"train": 45_000, "val": 5_000, "test": 10_000}, (3, 32, 32), 10),
        ("mnist", {"train": 55_000, "val": 5_000, "test": 10_000}, (1, 28, 28), 10),
        ("ocr_letters", {"train": 9_000, "val": 1_000}, (1, 16, 8), 10),
        ("gurmukhi_digits", {"train": 1_000, "val": 178}, (1, 32, 32), 10),
        ("circles", {"train": 200, "test": 200}, (2,), 2),
    ],
)
def test_real_sets(name, sizes, shape, classes):
    found = load(name, download=False)
    assert found.provenance["sizes"] == sizes
    assert found.train.x.shape[1:] == shape and not found.is_sample
    assert len(found.classes) == classes == len(found.train.y.unique())
    if name == "cifar10":
        assert torch.bincount(found.val.y).tolist() == [500] * 10
        mean, std = channel_stats(found.train)
        assert torch.allclose(mean, torch.tensor([0.4914, 0.4822, 0.4465]), atol=2e-3)
        assert torch.allclose(std, torch.tensor([0.2470, 0.2435, 0.2616]), atol=2e-3)
