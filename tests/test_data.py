from __future__ import annotations

import gzip
import pickle
import struct

import numpy as np
import pytest
import torch
from PIL import Image

from cifar_utils import data, sources
from cifar_utils.data import Split, channel_stats, load, pick_device, stratified_split
from cifar_utils.errors import DataError, ParameterError
from cifar_utils.sources import sum_of


def expect_sums(monkeypatch, name, folder):
    """Make the files that lie in `folder` the ones that data set `name` expects."""
    monkeypatch.setitem(sources.FILES, name, {f: sum_of(folder / f) for f in sources.FILES[name]})


def write_cifar10(folder, images=4):
    rng = np.random.default_rng(0)
    (folder / "cifar-10-batches-py").mkdir(parents=True)
    for file in sources.FILES["cifar10"]:
        pixels = rng.integers(256, size=(images, 3072), dtype=np.uint8)
        raw = {"data": pixels, "labels": [i % 10 for i in range(images)], "batch_label": file}
        (folder / file).write_bytes(pickle.dumps(raw, protocol=2))


# ---- sample data -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "shape", "classes", "sizes"),
    [
        ("cifar10", (3, 32, 32), 10, (2000, 400, 600)),
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
    assert torch.bincount(found.train.y).tolist() == [200] * 10
    assert not torch.equal(found.train.x[:400], found.val.x)
    assert not torch.equal(found.val.x[:400], found.test.x[:400])


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


def test_cuda_without_a_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ParameterError, match="no GPU.*device='cpu'"):
        load("circles", data="sample", device="cuda")
    with pytest.raises(ParameterError, match="expected 'auto', 'cpu' or 'cuda'"):
        pick_device("gpu")
    assert pick_device("auto").type == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert pick_device("auto").type == "cuda" and pick_device("cuda").type == "cuda"


@pytest.mark.parametrize("name", ["cifar10", "mnist", "ocr_letters", "gurmukhi_digits", "circles"])
@pytest.mark.parametrize("download", [True, False])
def test_missing_data_without_a_network(name, download, tmp_path, no_download):
    with pytest.raises(DataError) as caught:
        load(name, data_dir=tmp_path, download=download)
    message = str(caught.value)
    file, expected = next(iter(sources.FILES[name].items()))
    assert str(tmp_path / file) in message and "is missing" in message
    assert f"expected md5 {expected}, found no file" in message
    assert "set CIFAR_UTILS_DATA (or data_dir)" in message
    assert f"download it from {sources.HOME_PAGES[name]} into {tmp_path}" in message
    assert f"let load({name!r}) download it" in message
    assert "\n" not in message
    assert ("could not be downloaded" in message) == download


def test_download_of_a_broken_set_names_the_sums(tmp_path, monkeypatch):
    import torchvision.datasets

    monkeypatch.setattr(torchvision.datasets, "CIFAR10", lambda folder, download: write_cifar10(folder))
    with pytest.raises(DataError, match="is damaged .expected md5 5ff9c542aee3614f3951f8cda6e48888, found"):
        load("cifar10", data_dir=tmp_path)


def test_truncated_batch_file_names_both_sums(tmp_path, monkeypatch, no_download):
    write_cifar10(tmp_path)
    expect_sums(monkeypatch, "cifar10", tmp_path)
    load("cifar10", data_dir=tmp_path, validation=0)
    file = tmp_path / "cifar-10-batches-py" / "data_batch_3"
    expected = sum_of(file)
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(DataError) as caught:
        load("cifar10", data_dir=tmp_path, validation=0)
    message = str(caught.value)
    assert f"{file} is damaged (expected md5 {expected}, found {sum_of(file)})" in message
    assert expected != sum_of(file) and "Three ways" in message


def test_where_data_is_looked_for(tmp_path, monkeypatch, no_download):
    given, variable, here = tmp_path / "given", tmp_path / "variable", tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    for folder in (given, variable, here / "data"):
        write_cifar10(folder)
    expect_sums(monkeypatch, "cifar10", given)
    monkeypatch.setenv("CIFAR_UTILS_DATA", str(variable))
    assert sources.locate("cifar10", given) == given
    assert sources.locate("cifar10") == variable
    monkeypatch.delenv("CIFAR_UTILS_DATA")
    assert sources.locate("cifar10").resolve() == (here / "data").resolve()
    # a folder that was named is the only one looked at
    monkeypatch.setenv("CIFAR_UTILS_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match="nowhere"):
        sources.locate("cifar10", download=False)
    with pytest.raises(DataError, match="elsewhere"):
        sources.locate("cifar10", tmp_path / "elsewhere")


def test_nothing_falls_back_to_the_sample(tmp_path, monkeypatch, no_download):
    def never(*_args):
        raise AssertionError("the sample was used without being asked for")

    monkeypatch.setattr(data, "_sample", never)
    for name in sources.FILES:
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
    assert found.provenance["md5"] == sources.FILES["cifar10"]


def test_read_mnist(tmp_path, monkeypatch):
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    pixels = {}
    for part, count in (("train", 5), ("t10k", 3)):
        pixels[part] = rng.integers(256, size=(count, 28, 28), dtype=np.uint8)
        header = struct.pack(">IIII", 0x803, count, 28, 28)
        with gzip.open(folder / f"{part}-images-idx3-ubyte.gz", "wb") as f:
            f.write(header + pixels[part].tobytes())
        with gzip.open(folder / f"{part}-labels-idx1-ubyte.gz", "wb") as f:
            f.write(struct.pack(">II", 0x801, count) + bytes(range(count)))
    expect_sums(monkeypatch, "mnist", tmp_path)
    found = load("mnist", data_dir=tmp_path, validation=0)
    assert np.array_equal(found.train.x[:, 0].numpy(), pixels["train"])
    assert np.array_equal(found.test.x[:, 0].numpy(), pixels["t10k"])
    assert found.train.y.tolist() == [0, 1, 2, 3, 4] and found.train.y.dtype == torch.int64


def test_read_ocr_letters(tmp_path, monkeypatch):
    (tmp_path / "ocr_letters").mkdir()
    bits = np.random.default_rng(0).integers(2, size=(3, 128))
    lines = [",".join(map(str, [label, *row])) for label, row in zip((9, 0, 4), bits, strict=True)]
    (tmp_path / "ocr_letters" / "largeTrain.csv").write_bytes("\r\n".join(lines).encode() + b"\r\n")
    (tmp_path / "ocr_letters" / "largeValidation.csv").write_bytes("\r\n".join(lines[:2]).encode() + b"\r\n")
    expect_sums(monkeypatch, "ocr_letters", tmp_path)
    found = load("ocr_letters", data_dir=tmp_path)
    assert found.train.x.shape == (3, 1, 16, 8) and found.test is None and len(found.val) == 2
    assert np.array_equal(found.train.x.flatten(1).numpy(), bits * 255)
    assert [found.classes[i] for i in found.train.y] == ["u", "a", "l"]


def test_read_circles(tmp_path, monkeypatch):
    from scipy.io import savemat

    (tmp_path / "circles").mkdir()
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(6, 2)), np.eye(2)[[0, 1, 1, 0, 1, 0]]
    raw = {"Xtrain": x[:4], "Ytrain": y[:4], "Xtest": x[4:], "Ytest": y[4:]}
    savemat(tmp_path / "circles" / "circles.mat", raw)
    expect_sums(monkeypatch, "circles", tmp_path)
    found = load("circles", data_dir=tmp_path)
    assert found.train.y.tolist() == [0, 1, 1, 0] and found.test.y.tolist() == [1, 0]
    assert found.train.x.dtype == torch.float32
    assert torch.allclose(found.train.x.double(), torch.from_numpy(x[:4]))


def write_gurmukhi(folder, size=(32, 32)):
    rng = np.random.default_rng(0)
    for part in ("train", "val"):
        for label in range(10):
            at = folder / "gurmukhi_digits" / part / str(label)
            at.mkdir(parents=True)
            pixels = Image.fromarray(rng.integers(256, size=size[::-1], dtype=np.uint8))
            pixels.save(at / "a.bmp")
            pixels.save(at / "b.tiff")


def test_read_gurmukhi(tmp_path, monkeypatch):
    write_gurmukhi(tmp_path)
    (tmp_path / "gurmukhi_digits" / "train" / ".DS_Store").write_bytes(b"not an image")
    expect_sums(monkeypatch, "gurmukhi_digits", tmp_path)
    found = load("gurmukhi_digits", data_dir=tmp_path)
    assert found.train.x.shape == (20, 1, 32, 32) and len(found.val) == 20
    assert found.train.y.tolist() == [d for d in range(10) for _ in range(2)]
    with Image.open(tmp_path / "gurmukhi_digits" / "train" / "3" / "b.tiff") as image:
        assert np.array_equal(found.train.x[7, 0].numpy(), np.asarray(image))


def test_image_of_a_wrong_size_in_a_gurmukhi_folder(tmp_path, monkeypatch):
    write_gurmukhi(tmp_path)
    wrong = tmp_path / "gurmukhi_digits" / "train" / "5" / "c.bmp"
    Image.new("L", (30, 32)).save(wrong)
    expect_sums(monkeypatch, "gurmukhi_digits", tmp_path)
    with pytest.raises(DataError, match=r"c\.bmp is 30x32 pixels; expected 32x32"):
        load("gurmukhi_digits", data_dir=tmp_path)


def test_sum_of_a_folder_depends_on_names_and_bytes(tmp_path):
    write_gurmukhi(tmp_path)
    before = sum_of(tmp_path)
    (tmp_path / "gurmukhi_digits" / "train" / "0" / "a.bmp").rename(tmp_path / "zzz.bmp")
    assert sum_of(tmp_path) != before


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
