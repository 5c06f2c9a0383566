from __future__ import annotations

import pytest
import torch

from cifar_utils.errors import ParameterError
from cifar_utils.measure.layers import layer_table
from cifar_utils.models.rdfia import RdfiaNet
from cifar_utils.models.softmax import SoftmaxRegression
from cifar_utils.models.tanh import TanhNetwork


def test_rdfia_net_layers():
    rows = layer_table(RdfiaNet(), (3, 32, 32))
    assert [r["parameters"] for r in rows if r["parameters"]] == [2432, 51264, 102464, 1025000, 10010]
    assert [r["output"] for r in rows if r["layer"] in ("Conv2d", "MaxPool2d", "Linear")] == [
        (32, 32, 32), (32, 16, 16), (64, 16, 16), (64, 8, 8), (64, 8, 8), (64, 4, 4), (1000,), (10,),
    ]  # fmt: skip
    assert [r["layer"] for r in rows][:3] == ["Conv2d", "ReLU", "MaxPool2d"]
    total = sum(p.numel() for p in RdfiaNet().parameters())
    assert total == sum(r["parameters"] for r in rows) == 1_191_170


@pytest.mark.parametrize("image", [(1, 8, 8), (3, 28, 28), (1, 17, 9)])
def test_rdfia_net_on_other_images(image):
    model = RdfiaNet(classes=7, image=image)
    assert model(torch.zeros(2, *image)).shape == (2, 7)


def test_rdfia_net_refuses_images_too_small():
    with pytest.raises(ParameterError, match="7x32 are too small"):
        RdfiaNet(image=(3, 7, 32))


def test_rdfia_net_has_no_softmax():
    torch.manual_seed(0)
    scores = RdfiaNet()(torch.randn(5, 3, 32, 32))
    assert not torch.allclose(scores.sum(1), torch.ones(5)) and scores.min() < 0


def test_softmax_regression_is_one_linear_map_that_starts_at_zero():
    model = SoftmaxRegression(3 * 4 * 4, 10)
    x = torch.randn(2, 3, 4, 4)
    assert torch.equal(model(x), torch.zeros(2, 10))
    with torch.no_grad():
        model.linear.weight.normal_()
        model.linear.bias.normal_()
    assert torch.allclose(model(x), x.flatten(1) @ model.linear.weight.T + model.linear.bias, atol=1e-5)
    assert sum(p.numel() for p in SoftmaxRegression(3072, 10).parameters()) == 30_730


def test_layer_table_leaves_the_model_as_it_was():
    model = RdfiaNet().train()
    layer_table(model, (3, 32, 32))
    assert model.training and not any(m._forward_hooks for m in model.modules())
    with pytest.raises(RuntimeError):
        layer_table(model, (4, 32, 32))
    assert model.training and not any(m._forward_hooks for m in model.modules())


def test_dropout_and_batch_normalisation_stand_where_the_worksheet_puts_them():
    kinds = [type(m).__name__ for m in RdfiaNet(dropout=0.5, batch_norm=True)]
    block = ["Conv2d", "BatchNorm2d", "ReLU", "MaxPool2d"]
    assert kinds == [*block * 3, "Flatten", "Linear", "ReLU", "Dropout", "Linear"]


@pytest.mark.parametrize("dropout", [-0.1, 1, 1.5])
def test_dropout_is_a_probability(dropout):
    with pytest.raises(ParameterError, match="dropout is .*expected a probability"):
        RdfiaNet(dropout=dropout)


def test_tanh_network_is_the_formula_of_the_worksheet():
    model, x = TanhNetwork(6, 5, 3, std=0.3), torch.randn(4, 2, 3)
    hidden, out = model[1], model[3]
    expected = torch.tanh(x.flatten(1) @ hidden.weight.T + hidden.bias) @ out.weight.T + out.bias
    assert torch.allclose(model(x), expected, atol=1e-6) and model(x).shape == (4, 3)
    assert not hidden.bias.any() and not out.bias.any()
    wide = TanhNetwork(100, 100, 100, std=0.3)
    assert wide[1].weight.std().item() == pytest.approx(0.3, rel=0.05)
    assert TanhNetwork(100, 100, 100)[1].weight.abs().max() <= 0.1  # PyTorch's own: uniform up to 1/sqrt(inputs)


@pytest.mark.parametrize("settings", [{"hidden": 0}, {"std": -0.1}])
def test_tanh_network_refuses_nonsense(settings):
    with pytest.raises(ParameterError, match="expected"):
        TanhNetwork(**{"inputs": 2, "hidden": 3, "classes": 2} | settings)
