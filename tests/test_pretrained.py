"""Fixed networks: weights are checked, images prepared, features cached; the linear probe learns."""

import pytest
import torch
from stand_ins import change, server
from torch import nn
from torch.nn import functional as F

from cifar_utils.errors import DataError, ParameterError
from cifar_utils.files import sources
from cifar_utils.measure import linear_probe
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
    enlarged = F.interpolate(images.float(), size=(64, 64), mode="bilinear", align_corners=False)
    assert torch.allclose(pretrained.prepare(images, 64, "bytes"), enlarged, atol=1e-4)
    assert torch.allclose(pretrained.prepare(images, 64), (enlarged / 255 - mean) / std, atol=1e-5)


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


class Tiny(nn.Module):
    """What stands for AlexNet and SqueezeNet: `features` and a classifier."""

    def __init__(self, weights=None):
        super().__init__()
        self.features, self.classifier = nn.Sequential(nn.Conv2d(3, 2, 3)), nn.Linear(2, 1000)

    def forward(self, x):
        return self.classifier(self.features(x).mean((2, 3)))


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """Files of tiny networks under the names of the real ones, at an address, and a data folder without any."""
    torch.manual_seed(0)
    alexnet, squeezenet = Tiny().state_dict(), Tiny().state_dict()
    states = {
        "alexnet": alexnet,
        "alexnet_features": {k: v for k, v in alexnet.items() if k.startswith("features.")},
        "squeezenet": squeezenet,
        "squeezenet_16bit": {k: v.half() for k, v in squeezenet.items()},
    }
    for name, state in states.items():
        file = next(iter(sources.WEIGHTS[name].files))
        (tmp_path / "made" / "weights").mkdir(parents=True, exist_ok=True)
        torch.save(state, tmp_path / "made" / file)
        kind = "sha256" if "sha256" in sources.WEIGHTS[name].files[file] else "md5"
        digits = sources.sum_of(tmp_path / "made" / file, kind)
        expected = f"sha256:{digits[:8]}" if kind == "sha256" else digits
        change(monkeypatch, name, files={file: expected})
    for build in ("alexnet", "squeezenet1_1"):
        monkeypatch.setattr(pretrained.zoo, build, Tiny)
    (tmp_path / "mine" / "weights").mkdir(parents=True)
    monkeypatch.setenv("CIFAR_UTILS_DATA", str(tmp_path / "mine"))
    yield states
    assert not [p for p in (tmp_path / "mine").iterdir() if p.name.startswith(".")]


def give(name, tmp_path, content: bytes | None = None):
    """Put the file of weights `name` into the data folder; return its path."""
    file = next(iter(sources.WEIGHTS[name].files))
    (tmp_path / "mine" / file).write_bytes((tmp_path / "made" / file).read_bytes() if content is None else content)
    return tmp_path / "mine" / file


def test_missing_and_damaged_weights_are_refused(weights, tmp_path, no_download):
    for get in (pretrained.convolutions, pretrained.class_scores):
        with pytest.raises(DataError, match=r"alexnet-owt-7be5be79.pth is missing \(expected sha256 .*no network"):
            get()
    file = give("alexnet_features", tmp_path, b"not these")
    with pytest.raises(DataError, match=f"^{file} is damaged. alexnet: .* is missing"):
        pretrained.convolutions()
    file = give("alexnet", tmp_path, b"not these")
    with pytest.raises(DataError, match=f"alexnet: {file} is damaged .expected sha256 "):
        pretrained.class_scores()


def test_the_whole_network_serves_as_well_as_its_convolutions(weights, tmp_path, no_download):
    give("alexnet_features", tmp_path)
    part = pretrained.convolutions()
    give("alexnet", tmp_path)
    whole = pretrained.convolutions()
    assert torch.equal(part.network[0][0].weight, whole.network[0][0].weight)
    assert part.key == whole.key and part.name == whole.name
    assert "alexnet_features_imagenet1k.pth" in part.provenance["source"]
    assert "alexnet-owt-7be5be79.pth" in whole.provenance["source"]
    assert pretrained.class_scores().name == "AlexNet, trained on ImageNet"


def test_squeezenet_stands_in_for_alexnet_and_says_how_precise_its_weights_are(weights, tmp_path, no_download):
    give("squeezenet_16bit", tmp_path)
    rounded = pretrained.class_scores()
    give("squeezenet", tmp_path)
    full = pretrained.class_scores()
    assert rounded.name == full.name == "SqueezeNet 1.1, trained on ImageNet"
    assert "rounded to 16 bits" in rounded.provenance["source"]
    assert "rounded" not in full.provenance["source"] and full.provenance["weights"] == "squeezenet"
    assert rounded.key != full.key  # features of one are never taken for those of the other
    assert torch.equal(full.network.classifier.weight, weights["squeezenet"]["classifier.weight"])
    assert rounded.network.classifier.weight.dtype == torch.float32


@pytest.mark.parametrize("before", ["nothing", "damaged convolutions", "damaged"])
def test_weights_are_fetched_from_their_address(before, weights, tmp_path, monkeypatch):
    name = next(iter(sources.WEIGHTS["alexnet"].files)).split("/")[1]
    if before != "nothing":
        give("alexnet" if before == "damaged" else "alexnet_features", tmp_path, b"half")
    with server({name: (tmp_path / "made" / "weights" / name).read_bytes()}) as (url, asked):
        change(monkeypatch, "alexnet", urls=(url,))
        extractor = pretrained.convolutions()
        assert pretrained.class_scores().key == "alexnetscores" and asked == [name]
    assert torch.equal(extractor.network[0][0].weight, weights["alexnet"]["features.0.weight"])
    assert (tmp_path / "mine" / "weights" / f"{name}.damaged").exists() == (before == "damaged")


def test_probe_learns_what_is_linear_and_chooses_its_penalty():
    g = torch.Generator().manual_seed(0)
    x = torch.randn(400, 5, generator=g) * torch.tensor([1.0, 1, 1, 50, 0]) + 3
    y = (x[:, 0] + x[:, 1] > 6).long()
    probe = linear_probe(x[:300], y[:300])
    assert (probe.predict(x[300:]) == y[300:]).float().mean() > 0.95
    assert probe.penalty < 0.1 and probe.val_accuracy > 0.9
    noise = torch.randint(2, (300,), generator=g)
    assert linear_probe(x[:300], noise).val_accuracy < 0.65
    with pytest.raises(ParameterError, match="aside"):
        linear_probe(x[:5], y[:5])
