"""What the names in recipes stand for, where it is more than one call of PyTorch's."""

from __future__ import annotations

import pytest
import torch

from cifar_utils.data import AverageImage, Split, load
from cifar_utils.errors import ParameterError
from cifar_utils.models import RandomWindow
from cifar_utils.train import SGD, Adam, Part, Recipe, parts
from cifar_utils.train.training import begin

CPU = torch.device("cpu")


def rates_and_momenta(schedule: Part, optimizer: Part, steps: int, epochs: int, count: int | None = None):
    """Return both at every step, or at the first `count`."""
    made = parts.build("optimizer", optimizer, [torch.zeros(1, requires_grad=True)])
    moving, every = parts.build("schedule", schedule, made, steps, epochs)
    found = []
    for step in range(count or steps * epochs):
        group = made.param_groups[0]
        found.append((group["lr"], group.get("momentum", group.get("betas", [0])[0])))
        made.step()
        if every == "step" or step % steps == steps - 1:
            moving.step()
    return zip(*found, strict=True)


def test_one_cycle_gives_no_momentum_to_plain_descent():
    rates, momenta = rates_and_momenta(Part("one cycle"), SGD(0.4), 10, 4)
    assert set(momenta) == {0} and max(rates) == pytest.approx(0.4)


@pytest.mark.parametrize("optimizer", [SGD(0.4, momentum=0.9), Adam(0.4)])
def test_one_cycle_moves_momentum_against_the_rate(optimizer):
    rates, momenta = rates_and_momenta(Part("one cycle"), optimizer, 10, 4)
    assert (min(momenta), max(momenta)) == (pytest.approx(0.85), pytest.approx(0.95))
    assert rates.index(max(rates)) == momenta.index(min(momenta))


def test_one_cycle_ends_with_the_last_iteration_of_a_short_epoch():
    rates, _ = rates_and_momenta(Part("one cycle", total=38), SGD(0.4), 10, 4, count=38)
    assert rates[37] == pytest.approx(0, abs=1e-5) and rates[30] > 0.02


def test_warm_restarts_begin_anew_at_the_optimizers_rate():
    rates, _ = rates_and_momenta(Part("warm restarts", every=3), SGD(0.2), 2, 7)
    of_epochs = rates[::2]
    assert of_epochs == pytest.approx([0.2, 0.15, 0.05, 0.2, 0.15, 0.05, 0.2])


def test_batches_of_the_first_images_are_prepared_by_all():
    data = load("cifar10", data="sample")
    recipe = Recipe(
        "cifar10", "rdfia", batch=8, epochs=1, sample=True,
        prepare="average image", draw=Part("passes over the first", images=16),
    )  # fmt: skip
    _, batches, prepared = begin(recipe, 0, data, CPU)
    fitted = AverageImage.fit(data.train)
    wanted = fitted(data.train[:16])
    seen = Split(*(torch.cat(each) for each in zip(*batches, strict=True)))
    assert len(batches) == 2 and sorted(seen.y.tolist()) == sorted(wanted.y.tolist())
    assert torch.equal(seen.x.sort(0).values, wanted.x.sort(0).values)
    assert torch.equal(prepared(data.val).x, fitted(data.val).x)


def test_windows_are_cut_at_random_in_training_and_from_the_middle_to_measure():
    x = torch.arange(32 * 32.0).view(1, 1, 32, 32).expand(64, 3, 32, 32)
    window = RandomWindow(28)
    assert torch.equal(window.eval()(x), x[..., 2:30, 2:30])
    torch.manual_seed(0)
    cut = window.train()(x)
    corners = cut[:, 0, 0, 0].long()  # a pixel's value says where it was
    places = {(int(c) // 32, int(c) % 32) for c in corners}
    assert {top for top, _ in places} == {left for _, left in places} == set(range(5))
    one = cut[7, 1] - cut[7, 1, 0, 0]
    assert torch.equal(one, x[0, 0, :28, :28])
    with pytest.raises(ParameterError, match="no window"):
        window(x[..., :20, :20])


def test_network_on_windows_has_the_weights_of_the_one_on_whole_images():
    data = load("cifar10", data="sample")
    torch.manual_seed(0)
    whole = parts.build("model", Part("rdfia"), data)
    torch.manual_seed(0)
    windows = parts.build("model", Part("rdfia on windows", side=28), data)
    pairs = zip(whole.parameters(), windows.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert windows(torch.zeros(2, 3, 32, 32)).shape == (2, 10)


def test_images_are_standardised_by_given_numbers():
    data = load("cifar10", data="sample")
    draw = Part("standardised by", mean=(0.5, 0.4, 0.3), std=(0.2, 0.25, 0.5))
    recipe = Recipe("cifar10", "rdfia", batch=8, epochs=1, sample=True, prepare="channels", draw=draw)
    _, batches, _ = begin(recipe, 0, data, CPU)
    x, _ = next(iter(batches.in_order(data.train[:3])))
    pixels = data.train.x[:3].float() / 255
    by_hand = (pixels - torch.tensor([0.5, 0.4, 0.3]).view(3, 1, 1)) / torch.tensor([0.2, 0.25, 0.5]).view(3, 1, 1)
    assert torch.allclose(x, by_hand, atol=1e-5)
