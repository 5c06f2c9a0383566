from __future__ import annotations

import pytest
import torch
from sklearn.svm import LinearSVC

from cifar_utils.data.sets import load
from cifar_utils.errors import ParameterError
from cifar_utils.measure.bag_of_words import BagOfWords


@pytest.fixture(scope="module")
def shapes():
    return load("cifar10", data="sample")


@pytest.fixture(scope="module")
def bag(shapes):
    return BagOfWords(20, seed=1).fit(shapes.train.x, descriptors=3000)


def test_histograms_have_length_one_and_count_every_patch(bag, shapes):
    found = bag.transform(shapes.val.x[:30], chunk=7)
    assert found.shape == (30, bag.features) == (30, 80) and found.dtype == torch.float32
    assert torch.allclose(found.norm(dim=1), torch.ones(30), atol=1e-5)
    counts = found.square() * 14 * 14
    assert torch.allclose(counts.view(30, 4, 20).sum(2), torch.full((30, 4), 49.0), atol=1e-3)


def test_chunks_do_not_matter_and_seeds_do(bag, shapes):
    x = shapes.val.x[:20]
    assert torch.equal(bag.transform(x, chunk=3), bag.transform(x, chunk=20))
    again = BagOfWords(20, seed=1).fit(shapes.train.x, descriptors=3000)
    # k-means adds up in threads, so the last digits are not promised
    torch.testing.assert_close(again.vocabulary, bag.vocabulary, rtol=0, atol=1e-3)
    other = BagOfWords(20, seed=2).fit(shapes.train.x, descriptors=3000)
    assert not torch.equal(other.vocabulary, bag.vocabulary)


def test_every_patch_counts_for_its_nearest_word(bag, shapes):
    image = shapes.val.x[:1]
    patch = image[0, :, 4:10, 16:22].float().flatten()
    z = (patch - patch.mean()) / (patch.var(unbiased=False) + 10).sqrt()
    nearest = torch.cdist(((z - bag.mean) @ bag.whitening)[None], bag.vocabulary).argmin()
    only = BagOfWords(20, stride=32)
    only.mean, only.whitening, only.vocabulary = bag.mean, bag.whitening, bag.vocabulary
    found = only.transform(image[:, :, 4:10, 16:22].contiguous())
    assert found.view(-1, 20).sum(0).argmax() == nearest and found.count_nonzero() == 1


def test_contrast_and_brightness_are_left_out(bag, shapes):
    x = (shapes.val.x[:50] // 2) + 40
    same = bag.transform(x) * bag.transform(x + 30)
    assert same.sum(1).min() > 0.999


def test_parameters_and_features_are_counted(bag):
    assert bag.parameters == 108 + 108 * 108 + 20 * 108


def test_a_linear_svm_on_top_beats_guessing(bag, shapes):
    train, test = (bag.transform(s.x).numpy() for s in (shapes.train, shapes.test))
    svm = LinearSVC(C=0.1, tol=1e-2).fit(train, shapes.train.y.numpy())
    assert svm.score(test, shapes.test.y.numpy()) > 0.2


def test_bad_input_is_refused(shapes):
    with pytest.raises(ParameterError, match="words is 0"):
        BagOfWords(0)
    with pytest.raises(ParameterError, match="no vocabulary yet"):
        BagOfWords(5).transform(shapes.val.x)
    with pytest.raises(ParameterError, match="at least as many"):
        BagOfWords(50).fit(shapes.train.x, descriptors=10)
    with pytest.raises(ParameterError, match="smaller than a patch"):
        BagOfWords(5).fit(shapes.train.x[:, :, :4])
    with pytest.raises(ParameterError, match="expected uint8"):
        BagOfWords(5).fit(shapes.train.x.float())
