"""Fixed networks: weights are checked, images prepared, features cached; the linear probe learns."""

import pytest
import torch
from torch import nn

from cifar_utils.errors import DataError, ParameterError
from cifar_utils.models import pretrained


@pytest.fixture
def images():
    return torch.randint(256, (6, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def small():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten())
    return pretrained._fixed(network, "a small network", "small", 5)


def test_prepare_gives_what_the_networks_were_trained_on(images):
    x = pretrained.prepare(images, 32)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (pretrained.IMAGENET_MEAN, pretrained.IMAGENET_STD))
    assert torch.allclose(x[0], (images[0] / 255 - mean) / std, atol=1e-5)
    assert torch.allclose(pretrained.prepare(images, 32, "unit") * 255, pretrained.prepare(images, 32, "bytes"))
    assert pretrained.prepare(images, 64).shape == (6, 3, 64, 64)


def test_prepare_refuses_floats_and_unknown_scales(images):
    with pytest.raises(ParameterError, match="imagnet"):
        pretrained.prepare(images, 32, "imagnet")
    with pytest.raises(ParameterError, match="uint8"):
        pretrained.prepare(images.float(), 32)


def test_features_do_not_depend_on_the_batch_and_come_from_the_cache(images, small, tmp_path):
    once = pretrained.extract(small, images, 8, batch=6, cache=tmp_path)
    assert once.shape == (6, 4 * 6 * 6)
    assert torch.allclose(once, pretrained.extract(small, images, 8, batch=4), atol=1e-5)
    assert len(list(tmp_path.iterdir())) == 1
    with torch.no_grad():
        small.network[0].weight.zero_()  # the second call must not compute anything
    assert torch.equal(once, pretrained.extract(small, images, 8, cache=tmp_path))
    other = pretrained.extract(small, images[:3], 8, cache=tmp_path)
    assert len(other) == 3 and len(list(tmp_path.iterdir())) == 2


def test_images_too_small_for_alexnet_are_refused(images):
    extractor = pretrained.convolutions("sample")
    with pytest.raises(ParameterError, match="63 pixels"):
        pretrained.extract(extractor, images, 62)
    assert pretrained.extract(extractor, images[:2], 63).shape == (2, 256)
    with pytest.raises(RuntimeError):  # and 63 is the least indeed
        extractor.network(torch.zeros(1, 3, 62, 62))
    assert pretrained.class_scores("sample").network(torch.zeros(1, 3, 17, 17)).shape == (1, 1000)


def test_random_weights_are_the_same_for_the_same_seed():
    first, again, other = (pretrained.convolutions("sample", seed).network[0][0].weight for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_weights_of_another_architecture_are_one_sentence():
    state = nn.Linear(3, 2).state_dict()
    with pytest.raises(DataError, match=r"x.pth holds weights of another architecture: weight is \(2, 3\) there"):
        pretrained.load(nn.Linear(4, 2), state, "x.pth")
    with pytest.raises(DataError, match="bias is nothing there"):
        pretrained.load(nn.Linear(3, 2), {"weight": state["weight"]}, "x.pth")
    with pytest.raises(DataError, match="extra is .* and nothing in the network"):
        pretrained.load(nn.Linear(3, 2), state | {"extra": torch.zeros(1)}, "x.pth")


def test_missing_and_damaged_weights(tmp_path, monkeypatch):
    monkeypatch.setenv("CIFAR_UTILS_DATA", str(tmp_path))
    with pytest.raises(DataError, match="missing"):
        pretrained.read("squeezenet")
    assert pretrained.find("alexnet", required=False) is None
    file = tmp_path / pretrained.WEIGHTS["squeezenet"][0]
    file.parent.mkdir()
    file.write_bytes(b"not these")
    with pytest.raises(DataError, match="damaged"):
        pretrained.read("squeezenet")


def test_probe_learns_what_is_linear_and_chooses_its_penalty():
    g = torch.Generator().manual_seed(0)
    x = torch.randn(400, 5, generator=g) * torch.tensor([1.0, 1, 1, 50, 0]) + 3
    y = (x[:, 0] + x[:, 1] > 6).long()
    probe = pretrained.linear_probe(x[:300], y[:300])
    assert (probe.predict(x[300:]) == y[300:]).float().mean() > 0.95
    assert probe.penalty < 0.1 and probe.val_accuracy > 0.9
    noise = torch.randint(2, (300,), generator=g)
    assert pretrained.linear_probe(x[:300], noise).val_accuracy < 0.65
    with pytest.raises(ParameterError, match="aside"):
        pretrained.linear_probe(x[:5], y[:5])
