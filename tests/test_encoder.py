from __future__ import annotations

import pytest
import torch

from cifar_utils.errors import ParameterError, RunError
from cifar_utils.measure.embeddings import embed, knn_accuracy, knn_predict
from cifar_utils.measure.layers import layer_table
from cifar_utils.models.encoder import Encoder, NetworkB
from cifar_utils.train import checkpoint as ckpt


def test_the_encoder_is_the_reports_table():
    encoder = Encoder()
    rows = layer_table(encoder, (3, 32, 32))
    convolutions = [r for r in rows if r["layer"] == "Conv2d"]
    assert [r["output"] for r in convolutions] == [
        *[(64, 32, 32)] * 2, *[(128, 16, 16)] * 2, *[(256, 8, 8)] * 3, *[(512, 4, 4)] * 3, *[(512, 2, 2)] * 4,
    ]  # fmt: skip
    assert [r["output"] for r in rows if r["layer"] == "MaxPool2d"] == [
        (64, 16, 16), (128, 8, 8), (256, 4, 4), (512, 2, 2), (512, 1, 1)
    ]  # fmt: skip
    assert [(r["output"], r["parameters"]) for r in rows if r["layer"] == "Linear"] == [
        ((256,), 512 * 256 + 256), ((64,), 256 * 64 + 64)
    ]  # fmt: skip
    by_hand = sum(9 * i * o + o + 2 * o for i, o in (
        (3, 64), (64, 64), (64, 128), (128, 128), (128, 256), (256, 256), (256, 256), (256, 512),
        *[(512, 512)] * 6,
    ))  # fmt: skip
    assert sum(p.numel() for p in encoder.parameters()) == by_hand + 512 * 256 + 256 + 256 * 64 + 64
    assert [type(m).__name__ for m in encoder.body[:7]] == [
        "Conv2d", "BatchNorm2d", "ReLU", "Conv2d", "BatchNorm2d", "ReLU", "MaxPool2d"
    ]  # fmt: skip


def test_larger_images_and_other_widths():
    encoder = Encoder(width=2, dim=5, image=(1, 70, 64))
    assert encoder(torch.zeros(2, 1, 70, 64)).shape == (2, 5)


@pytest.mark.parametrize(
    "options, message",
    [({"width": 0}, "width is 0"), ({"dim": 0}, "dim is 0"), ({"dropout": 1.0}, "dropout is 1"),
     ({"image": (3, 31, 32)}, "31x32 are too small")],
)  # fmt: skip
def test_the_encoder_refuses(options, message):
    with pytest.raises(ParameterError, match=message):
        Encoder(**options)


def test_a_frozen_encoder_does_not_move():
    torch.manual_seed(0)
    net = NetworkB(Encoder(width=2, dim=4), classes=3, frozen=True).train()
    before = {k: v.clone() for k, v in net.encoder.state_dict().items()}
    optimizer = torch.optim.Adam([p for p in net.parameters() if p.requires_grad], 0.1)
    x, weights = torch.randn(4, 3, 32, 32), net.classifier[0].weight.clone()
    net(x).square().sum().backward()
    optimizer.step()
    assert all(torch.equal(v, before[k]) for k, v in net.encoder.state_dict().items())  # running means as well
    assert torch.equal(net(x), net(x))  # no dropout
    assert not torch.equal(weights, net.classifier[0].weight)


def test_network_b_is_linear_on_the_embedding_or_has_a_hidden_layer():
    encoder = Encoder(width=2, dim=4)
    assert [type(m).__name__ for m in NetworkB(encoder).classifier] == ["Linear"]
    net = NetworkB(encoder, classes=7, hidden=9)
    assert [p.shape[0] for p in net.classifier.parameters()] == [9, 9, 7, 7]
    assert net(torch.zeros(2, 3, 32, 32)).shape == (2, 7)


def test_weights_come_back_and_another_width_is_refused(tmp_path):
    encoder, path = Encoder(width=2, dim=4), tmp_path / "encoder.safetensors"
    ckpt.save(path, encoder, torch.optim.SGD(encoder.parameters()), {}, {})
    twin = Encoder(width=2, dim=4)
    ckpt.weights_of(path, twin)
    assert all(torch.equal(v, twin.state_dict()[k]) for k, v in encoder.state_dict().items())
    with pytest.raises(RunError, match=r"body.0.weight is \(2, 3, 3, 3\) there and \(3, 3, 3, 3\) in the model"):
        ckpt.weights_of(path, Encoder(width=3, dim=4))
    with pytest.raises(RunError, match="another architecture"):
        ckpt.weights_of(path, NetworkB(Encoder(width=2, dim=4)))


def test_embed_is_in_evaluation_mode_and_puts_training_mode_back():
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Dropout(0.9)).train()
    batches = [(torch.ones(2, 3), torch.tensor([0, 1])), (torch.ones(1, 3), torch.tensor([2]))]
    z, y = embed(net, batches)
    assert torch.equal(z, torch.ones(3, 3)) and y.tolist() == [0, 1, 2] and net.training


def test_knn_votes_by_euclidean_distance():
    known = torch.tensor([[0.0, 0], [0, 1], [1, 0], [10, 10], [10, 11]])
    labels = torch.tensor([0, 0, 1, 2, 2])
    z = torch.tensor([[0.1, 0.1], [9.0, 9.0], [0.9, 0.0]])
    assert knn_predict(known, labels, z, k=1).tolist() == [0, 2, 1]
    assert knn_predict(known, labels, z, k=3, block=2).tolist() == [0, 2, 0]
    assert knn_accuracy(known, labels, z, torch.tensor([0, 2, 1]), k=3) == pytest.approx(2 / 3)
    with pytest.raises(ParameterError, match="k is 6; expected between 1 and the 5"):
        knn_predict(known, labels, z, k=6)


def test_knn_agrees_with_scikit_learn():
    from sklearn.neighbors import KNeighborsClassifier

    g = torch.Generator().manual_seed(0)
    known, z = torch.randn(300, 6, generator=g), torch.randn(80, 6, generator=g)
    labels = torch.randint(4, (300,), generator=g)
    expected = KNeighborsClassifier(7).fit(known, labels).predict(z)
    assert knn_predict(known, labels, z, k=7).tolist() == expected.tolist()
