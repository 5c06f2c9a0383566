"""Dynamic convolutions: all ways to compute them agree, the network has the report's parts, errors are clear."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from cifar_utils.errors import ParameterError
from cifar_utils.measure.layers import layer_table
from cifar_utils.models.dynamic import COMBINE, DynamicBlock, DynamicConv2d, DynamicNet


@pytest.fixture(autouse=True)
def fixed_numbers():
    torch.manual_seed(0)


def by_hand(conv: DynamicConv2d, x):
    """The report's words, image by image: predict k numbers, run k convolutions, combine them."""
    rows = []
    for image in x:
        p = F.linear(image.mean((1, 2)), conv.mixer.weight, conv.mixer.bias)
        p = p.softmax(0) if conv.mixing == "softmax" else p
        each = [F.conv2d(image[None], w, b, padding=1)[0] for w, b in zip(conv.kernels, conv.bias, strict=True)]
        rows.append(sum(weight * y for weight, y in zip(p, each, strict=True)))
    return torch.stack(rows)


def values_and_gradients(function, conv, x):
    x = x.clone().requires_grad_(True)
    y = function(x)
    wanted = torch.autograd.grad((y * torch.sin(y)).sum(), [x, *conv.parameters()])
    return [y, *wanted]


@pytest.mark.parametrize("mixing", ["linear", "softmax"])
@pytest.mark.parametrize("combine", COMBINE)
@pytest.mark.parametrize("k", [1, 3])
def test_every_way_gives_the_sum_written_by_hand_and_its_gradients(combine, mixing, k):
    conv = DynamicConv2d(5, 7, k, mixing=mixing, combine=combine).double()
    x = torch.randn(4, 5, 6, 8, dtype=torch.float64)
    expected = values_and_gradients(lambda x: by_hand(conv, x), conv, x)
    for found, right in zip(values_and_gradients(conv, conv, x), expected, strict=True):
        torch.testing.assert_close(found, right, rtol=1e-10, atol=1e-10)


def test_auto_takes_kernels_for_large_maps_and_inputs_for_small_ones():
    conv = DynamicConv2d(16, 16, 4)
    assert conv.cheapest(32, 32) == "kernels" and conv.cheapest(4, 4) == "inputs"


def test_images_are_mixed_one_by_one():
    conv = DynamicConv2d(3, 4, 3, combine="kernels").double()
    x = torch.randn(5, 3, 8, 8, dtype=torch.float64)
    torch.testing.assert_close(conv(x)[2:3], conv(x[2:3]))


def test_softmax_mixing_of_one_kernel_is_a_plain_convolution():
    conv, plain = DynamicConv2d(3, 4, 1, mixing="softmax"), DynamicConv2d(3, 4, 1, mixing="none")
    plain.load_state_dict(conv.state_dict(), strict=False)
    x = torch.randn(2, 3, 8, 8)
    expected = F.conv2d(x, conv.weight, conv.bias[0], padding=1)
    torch.testing.assert_close(conv(x), expected)
    torch.testing.assert_close(plain(x), expected)
    assert torch.equal(plain.mixing_weights(x), torch.ones(2, 1))


@pytest.mark.parametrize("combine", COMBINE)
def test_bfloat16_comes_close(combine):
    conv, x = DynamicConv2d(8, 8, 2, combine=combine), torch.randn(4, 8, 16, 16)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = conv(x)
    exact = conv(x)
    assert (rounded - exact).norm() < 0.02 * exact.norm()


@pytest.mark.parametrize("combine", COMBINE)
def test_channels_last_gives_the_same_scores(combine):
    net, x = DynamicNet(width=4, k=2, combine=combine).double().eval(), torch.randn(4, 3, 16, 16).double()
    expected = net(x)
    net, x = net.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
    torch.testing.assert_close(net(x), expected)


def test_network_has_eleven_blocks_with_a_projection_where_channels_change():
    net = DynamicNet(width=4)
    assert len(net.blocks) == 11
    changes = [block.conv.inputs != block.conv.outputs for block in net.blocks]
    assert [isinstance(block.shortcut, nn.Sequential) for block in net.blocks] == changes == [
        True, True, False, False, True, False, False, True, False, False, False]  # fmt: skip
    sizes = [row["output"] for row in layer_table(net, (3, 32, 32)) if row["layer"] == "DynamicConv2d"]
    rows = [row for row in layer_table(net, (3, 32, 32)) if row["layer"] == "LeakyReLU"]
    assert not sizes  # a dynamic convolution holds its mixer, so it is no leaf
    assert [row["output"] for row in rows] == [
        (4, 32, 32), *[(8, 16, 16)] * 3, *[(16, 8, 8)] * 3, *[(32, 4, 4)] * 4]  # fmt: skip


def test_parameters_are_those_counted_by_hand():
    width, k = 4, 3
    widths = [3, *(width * f for f in (1, 2, 2, 2, 4, 4, 4, 8, 8, 8, 8))]
    count = 32 * 10 + 10
    for a, b in zip(widths[:-1], widths[1:], strict=True):
        count += k * (9 * a * b + b) + k * (a + 1) + 2 * b  # kernels and biases, mixer, normalisation
        count += a * b + b + 2 * b if a != b else 0
    assert sum(p.numel() for p in DynamicNet(width=width, k=k).parameters()) == count


@pytest.mark.parametrize("shortcut", ["residual", "projection", "none"])
def test_shortcut_adds_what_it_says(shortcut):
    block = DynamicBlock(4, 4, 2, shortcut=shortcut).eval()
    x = torch.randn(2, 4, 8, 8)
    past = x if shortcut == "residual" else 0
    torch.testing.assert_close(block(x), F.leaky_relu(block.norm(block.conv(x)) + past, 0.01))
    wider = DynamicBlock(4, 6, 2, shortcut=shortcut)
    assert (wider.shortcut is None) == (shortcut == "none")


def test_a_block_that_pools_halves_the_image():
    assert DynamicBlock(3, 4, pool=True)(torch.randn(2, 3, 8, 6)).shape == (2, 4, 4, 3)


def test_mixing_weights_of_every_block_are_those_used():
    net = DynamicNet(width=4, k=3, mixing="softmax").eval()
    x = torch.randn(5, 3, 16, 16)
    seen = []
    for block in net.blocks:
        block.conv.mixer.register_forward_hook(lambda _m, _i, out: seen.append(out.softmax(1)))
    net(x)
    used, seen[:] = torch.stack(seen), []
    found = net.mixing_weights(x)
    assert found.shape == (11, 5, 3)
    torch.testing.assert_close(found, used)
    torch.testing.assert_close(found.sum(2), torch.ones(11, 5))


def test_kaiming_reaches_what_it_is_asked_to():
    draw = lambda init: DynamicNet(width=16, k=4, init=init)  # noqa: E731
    kernels = lambda net: net.blocks[9].conv.weight.std().item()  # noqa: E731
    linear = lambda net: net.blocks[9].conv.mixer.weight.std().item()  # noqa: E731
    by_kaiming, by_torch = (2 / (9 * 128)) ** 0.5, (1 / (3 * 9 * 128)) ** 0.5
    assert kernels(draw("kaiming")) == pytest.approx(by_kaiming, rel=0.02)
    assert kernels(draw("kaiming linear")) == pytest.approx(by_torch, rel=0.02)
    assert kernels(draw("default")) == pytest.approx(by_torch, rel=0.02)
    assert linear(draw("kaiming linear")) == pytest.approx((2 / 128) ** 0.5, rel=0.15)
    assert linear(draw("default")) == pytest.approx((1 / (3 * 128)) ** 0.5, rel=0.15)
    assert not draw("kaiming").blocks[3].conv.bias.any()


def test_network_learns_a_few_images():
    net, x, y = DynamicNet(width=4, k=2), torch.randn(20, 3, 16, 16), torch.arange(20) % 10
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    for _ in range(60):
        optimizer.zero_grad()
        F.cross_entropy(net(x), y).backward()
        optimizer.step()
    assert F.cross_entropy(net(x), y) < 0.5
    assert all(p.grad is not None for p in net.parameters())


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: DynamicConv2d(3, 4, 0), "k is 0; expected 1 or more"),
        (lambda: DynamicNet(k=0), "k is 0; expected 1 or more"),
        (lambda: DynamicConv2d(0, 4), "Channels are 0 and 4"),
        (lambda: DynamicConv2d(3, 4, mixing="sigmoid"), "mixing is 'sigmoid'; expected one of 'linear'"),
        (lambda: DynamicConv2d(3, 4, combine="both"), "combine is 'both'"),
        (lambda: DynamicConv2d(3, 4, 2, mixing="none"), "mixing is 'none' and k is 2"),
        (lambda: DynamicBlock(3, 4, shortcut="dense"), "shortcut is 'dense'"),
        (lambda: DynamicNet(width=0), "width is 0 for 11 blocks"),
        (lambda: DynamicNet(factors=()), "for 0 blocks"),
        (lambda: DynamicNet(pooled=(12,)), "pooled names block 12; expected 1 to 11"),
        (lambda: DynamicNet(init="xavier"), "init is 'xavier'"),
    ],
)
def test_what_makes_no_sense_is_refused(make, message):
    with pytest.raises(ParameterError, match=message):
        make()


@pytest.mark.parametrize("method", ["forward", "mixing_weights"])
def test_image_too_small_for_the_poolings(method):
    with pytest.raises(ParameterError, match="Images of 7x32 are too small for the poolings; expected 8x8 or more"):
        getattr(DynamicNet(width=4), method)(torch.randn(2, 3, 7, 32))
