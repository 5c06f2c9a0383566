"""What people call test images: the file of CIFAR-10H, its stand-in, and judgements from shares."""

from __future__ import annotations

import hashlib
import io

import numpy as np
import pytest
from stand_ins import change, expect_sums, server

from cifar_utils.data import load, people
from cifar_utils.errors import DataError, ParameterError
from cifar_utils.files import sources

FILE = "cifar-10h/cifar10h-probs.npy"


def write(folder, shares):
    (folder / "cifar-10h").mkdir(exist_ok=True)
    np.save(folder / FILE, shares)
    return folder / FILE


def shares_of(images: int = 6) -> np.ndarray:
    return np.random.default_rng(0).multinomial(50, np.full(10, 0.1), images) / 50


def test_shares_are_read_once_their_sum_is_right(tmp_path, monkeypatch):
    write(tmp_path, shares_of())
    with pytest.raises(DataError, match="cifar10h-probs.npy is damaged.*github.com/jcpeterson/cifar-10h"):
        people.load(data_dir=tmp_path, download=False)
    expect_sums(monkeypatch, "cifar-10h", tmp_path)
    found = people.load("cifar-10h", data_dir=tmp_path)
    assert (found.shares == shares_of()).all() and found.shares.dtype == np.float64 and not found.is_sample
    assert found.provenance["md5"] == sources.LABELS["cifar-10h"].files and found.provenance["sizes"] == {"test": 6}


def test_a_missing_file_is_fetched_from_its_address(tmp_path, monkeypatch):
    buffer = io.BytesIO()
    np.save(buffer, shares_of())
    raw = buffer.getvalue()
    with server({"cifar10h-probs.npy": raw}) as (url, asked):
        change(monkeypatch, "cifar-10h", files={FILE: hashlib.md5(raw).hexdigest()}, urls=(url,))
        assert (people.load(data_dir=tmp_path).shares == shares_of()).all()
    assert asked == ["cifar10h-probs.npy"] and (tmp_path / FILE).exists()


@pytest.mark.parametrize(("content", "message"), [
    (np.ones((4, 9)) / 9, r"holds float64 of shape \(4, 9\); expected shares of ten classes"),
    (np.ones((4, 10), dtype=int), r"holds int64 of shape \(4, 10\); expected shares"),
    (np.ones((4, 10)), "rows that are no shares; expected numbers of 0 or more that sum to one"),
    (np.full((4, 10), np.nan), "rows that are no shares"),
    (np.eye(10)[:4] * 2 - 0.1, "rows that are no shares"),
    (np.array([["a"] * 10], dtype=object), "expected an array in NumPy's format"),
])  # fmt: skip
def test_a_file_that_holds_something_else_is_one_sentence(content, message, tmp_path):
    with pytest.raises(DataError, match=message) as caught:
        people.read(write(tmp_path, content))
    assert "\n" not in str(caught.value)


def test_unknown_names_are_refused():
    with pytest.raises(DataError, match="no labels called 'cifar10'; expected one of cifar-10h"):
        people.load("cifar10")
    with pytest.raises(ParameterError, match="data is 'samples'; expected 'real' or 'sample'"):
        people.load(data="samples")


def test_the_stand_in_belongs_to_the_sample_images_and_says_what_it_is():
    found, again = people.load(data="sample"), people.load(data="sample")
    labels = load("cifar10", data="sample").test.y.numpy()
    assert found.is_sample and found.provenance["source"] == "embedded sample data"
    assert (found.shares == again.shares).all() and found.shares.shape == (len(labels), 10)
    assert np.allclose(found.shares.sum(1), 1)
    right = found.shares.argmax(1) == labels
    assert 0.8 < right.mean() < 1 and 0.2 < (found.shares.max(1) == 1).mean() < 0.8


def test_judgements_come_back_from_shares():
    rng = np.random.default_rng(1)
    counts = np.stack([rng.multinomial(n, [0.6, 0.2, 0.1, 0.1]) for n in (47, 53, 59, 61)])  # primes
    shares = counts / counts.sum(1, keepdims=True)
    assert people.smallest_counts(shares).tolist() == [47, 53, 59, 61]
    assert (people.votes(shares) == counts).all()
    assert people.smallest_counts(np.array([[0.95, 0.05], [1, 0], [1 / 3, 2 / 3]])).tolist() == [20, 1, 3]
    assert people.votes(np.array([[0.96, 0.04], [1, 0], [0.95, 0.05]])).tolist() == [[48, 2], [51, 0], [57, 3]]
    assert people.smallest_counts(np.array([[2**-0.5, 1 - 2**-0.5]])).tolist() == [0]


def test_two_halves_have_every_judgement_once():
    counts = np.array([[30, 21, 0], [2, 0, 0], [25, 25, 3]])
    one, other = people.halves(counts, seed=3)
    sizes = counts.sum(1)
    first, second = one * (sizes // 2)[:, None], other * (sizes - sizes // 2)[:, None]
    assert np.allclose(first + second, counts) and np.allclose(one.sum(1), 1)
    assert not np.allclose(one, people.halves(counts, seed=4)[0])
    with pytest.raises(ParameterError, match="has 1 judgements; expected 2 or more"):
        people.halves(np.array([[1, 0]]), seed=0)


@pytest.mark.real_data
def test_classes_and_images_stand_in_the_order_of_cifar10():
    try:
        found = people.load(download=False)
    except DataError:
        pytest.skip("CIFAR_UTILS_DATA has no CIFAR-10H")
    labels = load("cifar10", validation=0).test.y.numpy()
    assert found.shares.shape == (10_000, 10)
    assert (found.shares.argmax(1) == labels).mean() > 0.99
    least = people.smallest_counts(found.shares)
    assert 0 < least.min() and 47 <= np.median(least[least > 31]) <= 63
