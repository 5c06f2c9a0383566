"""Softmax regression by hand, beside automatic differentiation; and networks that are never told to evaluate."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from cifar_utils.models import AlwaysTraining, Encoder, NetworkB
from cifar_utils.train import descend_softmax


def examples(n=40, features=6, classes=3):
    g = torch.Generator().manual_seed(1)
    y = torch.arange(n) % classes
    return torch.randn(n, features, generator=g, dtype=torch.float64) + F.one_hot(y, features), y


@pytest.mark.parametrize("summed", [True, False])
def test_a_step_on_all_examples_is_the_gradient_of_the_loss_and_its_penalty(summed):
    train = examples()
    how = dict(batch=40, lr=0.01, l2=0.1, seed=3, every=1, clip=None, summed=summed)
    before, after = (descend_softmax(train, {}, iterations=n, **how) for n in (1, 2))  # biases begin at zero
    W, b = before.W.clone().requires_grad_(), before.b.clone().requires_grad_()
    loss = F.cross_entropy(train[0] @ W + b, train[1])
    penalty = 0.1 / 2 * (W.square().sum() + b.square().sum())
    (dW,) = torch.autograd.grad((40 if summed else 1) * loss + penalty, W, retain_graph=True)
    (db,) = torch.autograd.grad(loss + penalty, b)
    assert torch.allclose((before.W - after.W) / 0.01, dW) and torch.allclose((before.b - after.b) / 0.01, db)


def test_every_step_of_a_sum_has_the_length_of_the_clip():
    train = examples()
    how = dict(batch=20, lr=0.5, clip=0.25, seed=0, every=1)
    one, two = (descend_softmax(train, {"all": train}, iterations=n, **how) for n in (4, 5))
    moved = ((two.W - one.W).square().sum() + (two.b - one.b).square().sum()).sqrt()
    assert torch.isclose(moved, torch.tensor(0.125, dtype=torch.float64))
    assert two.at == [0, 1, 2, 3, 4, 5] and len(two.accuracy["all"]) == len(two.loss["batch"]) == 6


def test_a_mean_goes_down_as_well():
    train = examples()
    found = descend_softmax(train, {"all": train}, iterations=300, batch=20, lr=0.3, summed=False, clip=None)
    assert found.loss["all"][-1] < found.loss["all"][0] - 0.1


def test_a_network_may_stay_in_training_mode_until_it_is_let_go():
    network = NetworkB(Encoder(width=2, dim=4, last=3), classes=3, always_training=True).eval()
    assert network.training and network.encoder.training
    network.always_training = False
    assert not network.eval().encoder.training
    wrapped = AlwaysTraining(network.encoder).eval()
    assert wrapped.training and wrapped.network.training
    assert wrapped(torch.randn(4, 3, 32, 32)).shape == (4, 4)


def test_the_published_encoder_has_one_convolution_less_than_the_table():
    convolutions = [m for m in Encoder(last=3).modules() if isinstance(m, torch.nn.Conv2d)]
    assert len(convolutions) == 13
