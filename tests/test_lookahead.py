"""Lookahead behind two optimizers: beside the same steps by hand, and taken up again."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from cifar_utils.data import load
from cifar_utils.errors import ParameterError
from cifar_utils.train import SGD, Part, Recipe, Store
from cifar_utils.train.lookahead import DescentWithLookahead, MuonWithLookahead
from cifar_utils.train.muon import Muon

TOTAL = 11


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 4, 3), nn.Flatten(), nn.Linear(16, 3))


def taken(optimizer_of, steps=TOTAL):
    """The parameters after each step on the same few images."""
    model = network()
    optimizer = optimizer_of(model.parameters())
    x, y = torch.randn(8, 2, 4, 4, generator=torch.manual_seed(1)), torch.arange(8) % 3
    after = []
    for _ in range(steps):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        after.append([p.detach().clone() for p in model.parameters()])
    return after


def by_hand(total, every, keep):
    """Nesterov's descent with Lookahead, written out."""
    model = network()
    parameters = list(model.parameters())
    slow, speed = [p.detach().clone() for p in parameters], [torch.zeros_like(p) for p in parameters]
    x, y = torch.randn(8, 2, 4, 4, generator=torch.manual_seed(1)), torch.arange(8) % 3
    after = []
    for n in range(1, total + 1):
        gradients = torch.autograd.grad(F.cross_entropy(model(x), y), parameters)
        for p, g, s, v in zip(parameters, gradients, slow, speed, strict=True):
            rate = 0.02 if p.dim() > 1 else 0.3
            g = g + 0.001 / rate * p.detach()
            v.mul_(0.85).add_(g)
            p.data -= rate * (g + 0.85 * v)
            if n % every == 0:
                stays = keep * (n / total) ** 3
                s.copy_(stays * s + (1 - stays) * p.data)
            if n % every == 0 or n == total:
                p.data.copy_(s)
        after.append([p.detach().clone() for p in parameters])
    return after


@pytest.mark.parametrize(("every", "keep"), [(5, 0.95**5), (2, 0.5), (3, 0.0)])
def test_descent_meets_its_average(every, keep):
    options = dict(lr=0.02, bias_lr=0.3, weight_decay=0.001, every=every, keep=keep)
    found = taken(lambda p: DescentWithLookahead(p, TOTAL, **options))
    for ours, wanted in zip(found, by_hand(TOTAL, every, keep), strict=True):
        for a, b in zip(ours, wanted, strict=True):
            torch.testing.assert_close(a, b)


def test_one_rate_for_all_leaves_no_parameter_out():
    optimizer = DescentWithLookahead(network().parameters(), TOTAL, lr=0.1, bias_lr=0.1)
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(list(network().parameters()))


def test_muon_is_itself_until_the_first_meeting():
    options = dict(lr=0.1, matrix_lr=0.1, bias_lr=0.1)
    plain, never = taken(lambda p: Muon(p, **options)), taken(lambda p: MuonWithLookahead(p, 5 * TOTAL, **options))
    assert all(torch.equal(a, b) for a, b in zip(plain[3], never[3], strict=True)), "no meeting before the fifth step"
    assert not torch.equal(never[9][0], plain[9][0]), "the second meeting keeps a part of the average"


def test_a_training_goes_on_where_it_stopped():
    model = network()
    x, y = torch.randn(8, 2, 4, 4), torch.arange(8) % 3

    def step(model, optimizer):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()

    optimizer = DescentWithLookahead(model.parameters(), TOTAL, lr=0.02, bias_lr=0.3)
    for _ in range(7):
        step(model, optimizer)
    again = network()
    again.load_state_dict(model.state_dict())
    resumed = DescentWithLookahead(again.parameters(), TOTAL, lr=0.02, bias_lr=0.3)
    resumed.load_state_dict(optimizer.state_dict())
    for _ in range(4):
        step(model, optimizer)
        step(again, resumed)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))


@pytest.mark.parametrize(
    "options", [dict(total=0), dict(total=5, every=0), dict(total=5, keep=1.5), dict(total=5, lr=0)]
)
def test_bad_options_are_told(options):
    with pytest.raises(ParameterError, match="expected"):
        DescentWithLookahead(network().parameters(), **options)


def test_recipes_take_them(tmp_path):
    recipe = Recipe(
        "cifar10",
        Part("fast by descent", widths=[4, 8, 8]),
        Part("descent with lookahead", total=4),
        batch=20,
        epochs=2,
        images=40,
        validation=0,
        prepare="channels",
        draw=Part("alternating", shift=2),
        loss=Part("cross-entropy", smoothing=0.2),
        schedule=Part("linear", rise=0.23, start=0.2, end=0.07),
        start="whitened patches",
        sample=True,
        final=("test",),
    )
    store = Store(tmp_path)
    descent = store.get(recipe, 0)
    muon = store.get(recipe.but(optimizer=Part("Muon with lookahead", total=4)), 0)
    plain = store.get(recipe.but(optimizer=SGD(1.5, momentum=0.85, nesterov=True)), 0)
    losses = [tuple(t.history.train_loss) for t in (descent, muon, plain)]
    assert len(set(losses)) == 3


def test_scores_are_divided():
    from cifar_utils.train.lookahead import fast_by_descent

    data = load("cifar10", data="sample")
    torch.manual_seed(0)
    network = fast_by_descent(data, widths=[4, 8, 8])
    x = torch.randn(2, 3, 32, 32)
    divided = network(x)
    network.divide = 1.0
    torch.testing.assert_close(9 * divided, network(x))
    assert network[-1].weight.abs().max() <= 1 / 8**0.5, "PyTorch's own first weights"
