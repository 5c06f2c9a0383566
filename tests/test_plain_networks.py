"""The two plain networks have eleven 3x3 convolutions, the sizes they state, and shortcuts that add."""

import pytest
import torch
from torch import nn

from cifar_utils.errors import ParameterError
from cifar_utils.measure.layers import layer_table
from cifar_utils.models.plain import ResidualBlock, ResNetLike, VggLike


@pytest.mark.parametrize("network", [VggLike, ResNetLike])
def test_eleven_convolutions_of_the_stated_sizes(network):
    net = network(7, width=4)
    convs = [m for m in net.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)]
    assert len(convs) == 11 and convs[0].out_channels == 4 and convs[-1].out_channels == 32
    rows = layer_table(net, (3, 32, 32))
    assert [r["output"] for r in rows if r["layer"] == "MaxPool2d"] == [
        (4, 16, 16), (8, 8, 8), (16, 4, 4)]  # fmt: skip
    assert net(torch.randn(2, 3, 32, 32)).shape == (2, 7)


def test_parameters_grow_with_the_square_of_the_width():
    count = lambda net: sum(p.numel() for p in net.parameters())  # noqa: E731
    assert 3.8 < count(VggLike(width=32)) / count(VggLike(width=16)) < 4
    assert count(ResNetLike(width=16)) == pytest.approx(count(VggLike(width=16)), rel=0.15)


def test_residual_block_adds_its_input():
    block, x = ResidualBlock(4, 4).eval(), torch.randn(2, 4, 6, 6)
    torch.testing.assert_close(block(x), (block.convs(x) + x).relu())
    wider = ResidualBlock(4, 6).eval()
    torch.testing.assert_close(wider(x), (wider.convs(x) + wider.shortcut(x)).relu())


@pytest.mark.parametrize("network", [VggLike, ResNetLike])
def test_width_of_zero_is_refused(network):
    with pytest.raises(ParameterError, match="width is 0; expected 1 or more"):
        network(width=0)
