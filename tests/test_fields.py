from __future__ import annotations

import pytest
import torch
from torch import nn

from cifar_utils.errors import ParameterError
from cifar_utils.measure.fields import field_table, receptive_field, sensitivity, width_holding
from cifar_utils.measure.fully_convolutional import as_convolutions
from cifar_utils.models.rdfia import RdfiaNet
from cifar_utils.models.softmax import SoftmaxRegression


@pytest.fixture
def net():
    torch.manual_seed(0)
    return RdfiaNet(dropout=0.5, batch_norm=True).double().eval()


def test_convolutions_give_the_same_scores_and_a_map_on_larger_images(net):
    fully = as_convolutions(net, (3, 32, 32))
    x = torch.randn(4, 3, 32, 32, dtype=torch.float64)
    assert torch.allclose(fully(x)[:, :, 0, 0], net(x), atol=1e-12)
    assert fully(torch.zeros(1, 3, 96, 64, dtype=torch.float64)).shape == (1, 10, 9, 5)
    assert sum(p.numel() for p in fully.parameters()) == sum(p.numel() for p in net.parameters())


def test_without_padding_every_position_is_the_network_on_its_window(net):
    fully = as_convolutions(net, (3, 32, 32))
    for layer in fully:
        if isinstance(layer, nn.Conv2d):
            layer.padding = (0, 0)
    canvas = torch.randn(1, 3, 84, 76, dtype=torch.float64)
    scores = fully(canvas)
    assert scores.shape == (1, 10, 4, 3)
    for i in range(4):
        for j in range(3):
            window = canvas[:, :, 8 * i : 8 * i + 60, 8 * j : 8 * j + 60]
            assert torch.allclose(fully(window)[0, :, 0, 0], scores[0, :, i, j], atol=1e-12)


def test_the_copy_has_weights_of_its_own_and_the_mode_of_the_model(net):
    fully = as_convolutions(net.train(), (3, 32, 32))
    assert fully.training and net.training
    with torch.no_grad():
        next(fully.parameters()).zero_()
    assert next(net.parameters()).abs().sum() > 0


def test_what_cannot_be_converted_is_refused(net):
    with pytest.raises(ParameterError, match="nn.Flatten"):
        as_convolutions(SoftmaxRegression(3072, 10), (3, 32, 32))
    with pytest.raises(ParameterError, match="1024 values.*64x8x8"):
        as_convolutions(net, (3, 64, 64))
    with pytest.raises(ParameterError, match="does not take images"):
        as_convolutions(net, (1, 32, 32))


def test_arithmetic_and_gradient_agree_on_every_field():
    net = as_convolutions(RdfiaNet(), (3, 32, 32))
    table = field_table(net)
    assert [r["size"] for r in table] == [5, 6, 14, 16, 32, 36, 60, 60]
    assert [r["step"] for r in table] == [1, 2, 2, 4, 4, 8, 8, 8]
    for row in table:
        seen = receptive_field(net, row["index"], (3, 128, 128))
        rows, columns = seen.any(1).nonzero().flatten(), seen.any(0).nonzero().flatten()
        assert len(rows) == len(columns) == row["size"] and seen.sum() == row["size"] ** 2
        units = 128 // row["step"] - (3 if row["step"] == 8 and row["kernel"] in (4, 1) else 0)
        assert int(rows[0]) == row["start"] + row["step"] * (units // 2)


def test_field_stops_at_the_edge_and_covers_the_image_at_the_end():
    net = RdfiaNet()
    assert receptive_field(net, 0, (3, 32, 32)).sum() == 25
    assert receptive_field(net, len(net) - 1, (3, 32, 32)).all()
    with pytest.raises(ParameterError, match="expected 0 to"):
        receptive_field(net, 99, (3, 32, 32))


def test_fields_of_unknown_or_dilated_layers_are_refused():
    with pytest.raises(ParameterError, match="Flatten is not known"):
        field_table(RdfiaNet())
    with pytest.raises(ParameterError, match="dilated by 2"):
        field_table(nn.Sequential(nn.Conv2d(1, 1, 3, dilation=2)))
    with pytest.raises(ParameterError, match="square"):
        field_table(nn.Sequential(nn.Conv2d(1, 1, (3, 5))))


def test_sensitivity_of_one_filter_is_its_absolute_weight():
    layer = nn.Conv2d(1, 1, 3, bias=False)
    net = nn.Sequential(layer)
    found = sensitivity(net, 0, torch.randn(5, 1, 7, 7))
    expected = torch.zeros(7, 7)
    expected[2:5, 2:5] = layer.weight[0, 0].detach().abs()
    assert torch.allclose(found, expected / expected.max(), atol=1e-6)


def on_two_pixels(weights: list[list[list[float]]], images: int) -> list[float]:
    """Return the sensitivity of units with these weights (units, channels, two pixels) to each of two pixels."""
    weight = torch.tensor(weights)
    layer = nn.Linear(weight[0].numel(), len(weight), bias=False)
    with torch.no_grad():
        layer.weight.copy_(weight.flatten(1))
    return sensitivity(nn.Sequential(nn.Flatten(), layer), 1, torch.randn(images, 2, 1, 2))[0].tolist()


def test_sensitivity_adds_channels_by_squares():
    assert on_two_pixels([[[3, 10], [-4, 0]]], 5) == pytest.approx([0.5, 1])  # √(3² + 4²) and 10


def test_sensitivity_adds_units_by_squares_whatever_their_signs():
    # sums of squares are 50 and 200; the first pixel's gradients cancel where all units have one sign
    units = [[[3, 10], [4, 0]], [[-3, 0], [-4, 10]]]
    assert on_two_pixels(units, 4000) == pytest.approx([0.5, 1], rel=0.05)


def test_width_that_holds_a_share():
    flat = torch.zeros(11, 11)
    flat[3:8, 3:8] = 1
    assert width_holding(flat, 0.99) == 5 and width_holding(flat, 0.3) == 3
    with pytest.raises(ParameterError, match="between 0 and 1"):
        width_holding(flat, 1.5)
    with pytest.raises(ParameterError, match="zero everywhere"):
        width_holding(torch.zeros(3, 3))
