"""Deep networks trained together are the networks trained alone, and theory agrees with them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from cifar_utils.data.sets import Split
from cifar_utils.errors import ParameterError
from cifar_utils.measure.gradients import expected_factors
from cifar_utils.models.deep import DeepNetwork, Setting
from cifar_utils.train import deep_stack
from cifar_utils.train.deep_stack import DeepStack, scaled
from cifar_utils.train.loop import seed_everything

WIDTHS, SEEDS = (20, 9, 6), (0, 3)
SETTINGS = [
    Setting("sigmoid", 2), Setting("relu", 2, "he"), Setting("tanh", 2, residual=True),
    Setting("relu", 2, "he", "batch"), Setting("tanh", 2, "xavier", "batch"),
    Setting("selu", 2, "lecun", "layer", True),
]  # fmt: skip


def images(count: int, seed: int = 0) -> Split:
    g = torch.Generator().manual_seed(seed)
    x = torch.randint(256, (count, 3, 4, 4), dtype=torch.uint8, generator=g)
    return Split(x, (x[:, 0, 0, 0] > 120).long() + (x[:, 1, 2, 2] > 150).long())


def alone(setting, seed, train, val, epochs, batch_size, make):
    """Train one network with plain PyTorch; returns losses, gradient and update norms of every step, and itself."""
    seed_everything(seed)
    model = DeepNetwork(setting, 48, 3, WIDTHS)
    optimizer, g = make(list(model.parameters())), torch.Generator().manual_seed(seed)
    steps, validation = [], []
    for _ in range(epochs):
        order = torch.randperm(len(train), generator=g)
        model.train()
        for index in order.split(batch_size):
            loss = F.cross_entropy(model(scaled(train.x[index])), train.y[index])
            optimizer.zero_grad()
            loss.backward()
            old = [layer.weight.detach().clone() for layer in model.linear]
            optimizer.step()
            weights = [layer.weight for layer in model.linear]
            norms = [[w.grad.norm().item(), (w - o).norm().item()] for w, o in zip(weights, old, strict=True)]
            steps.append((loss.item(), len(index), torch.tensor(norms).T))
        model.eval()
        with torch.no_grad():
            scores = model(scaled(val.x))
        validation.append((F.cross_entropy(scores, val.y).item(), (scores.argmax(1) == val.y).float().mean().item()))
    return steps, validation, model


@pytest.mark.parametrize(
    "make",
    [lambda p: torch.optim.Adam(p, lr=1e-2, eps=1e-5), lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9)],
    ids=["adam", "sgd"],  # eps: a bias before batch normalisation has no gradient but rounding, which Adam blows up
)
def test_every_network_goes_as_it_would_alone(make):
    train, val, test = images(70), images(33, 1), images(21, 2)
    run = deep_stack.fit(SETTINGS, train, val, test, seeds=SEEDS, epochs=3, batch_size=16, optimizer=make,
                         widths=WIDTHS, measured_steps=5)  # fmt: skip
    for k, setting in enumerate(SETTINGS):
        for s, seed in enumerate(SEEDS):
            steps, validation, model = alone(setting, seed, train, val, 3, 16, make)
            for e in range(3):
                part = steps[5 * e : 5 * e + 5]
                loss = sum(v * n for v, n, _ in part) / 70
                assert run.train_loss[k, s, e] == pytest.approx(loss, rel=1e-4)
                assert run.val_loss[k, s, e] == pytest.approx(validation[e][0], rel=1e-4)
                assert run.val_accuracy[k, s, e] == pytest.approx(validation[e][1], abs=0.04)
                gradients, updates = torch.stack([n for *_, n in part]).mean(0)
                np.testing.assert_allclose(run.gradients[k, s, e], gradients, rtol=2e-3)
                np.testing.assert_allclose(run.updates[k, s, e], updates, rtol=2e-3)
            np.testing.assert_allclose(
                run.weights[k, s, -1], [layer.weight.norm().item() for layer in model.linear], rtol=1e-4
            )
            model.eval()
            with torch.no_grad():
                assert run.test_loss[k, s] == pytest.approx(
                    F.cross_entropy(model(scaled(test.x)), test.y).item(), rel=1e-3
                )


def test_stack_scores_and_gradients_are_those_of_its_networks():
    stack, split = DeepStack(SETTINGS, SEEDS, 48, 3, WIDTHS), images(30)
    x = torch.stack([scaled(split.x[:15]), scaled(split.x[15:])])
    y = torch.stack([split.y[:15], split.y[15:]])
    scores, norms = stack(x), stack.gradient_norms(x, y)
    assert scores.shape == (12, 3, 15) and norms.shape == (6, 2, 6)
    for k, setting in enumerate(SETTINGS):
        for s, seed in enumerate(SEEDS):
            seed_everything(seed)
            model = DeepNetwork(setting, 48, 3, WIDTHS)
            torch.testing.assert_close(scores[2 * k + s].T, model(x[s]), rtol=1e-4, atol=1e-5)
            F.cross_entropy(model(x[s]), y[s]).backward()
            own = [layer.weight.grad.norm().item() for layer in model.linear]
            np.testing.assert_allclose(norms[k, s], own, rtol=1e-3)


def test_ranks_are_those_of_the_true_class():
    stack, split = DeepStack(SETTINGS[:1], [0], 48, 3, WIDTHS).eval(), images(40)
    _, ranks = deep_stack.evaluate(stack, split)
    with torch.no_grad():
        places = stack(scaled(split.x)[None])[0].T.argsort(1, descending=True) == split.y[:, None]
    torch.testing.assert_close(ranks[0], places.double().mean(0))
    assert ranks.sum() == pytest.approx(1)


@pytest.mark.parametrize("value", [float("nan"), 0.0])
def test_a_network_that_says_nothing_is_never_right(value):
    stack, split = DeepStack(SETTINGS[:1], [0], 48, 3, WIDTHS).eval(), images(40)
    with torch.no_grad():
        for parameter in (stack.weight(stack.layers - 1), stack.bias(stack.layers - 1)):
            parameter.fill_(value)
    _, ranks = deep_stack.evaluate(stack, split)
    assert ranks.tolist() == [[0, 0, 1]]


def test_bytes_are_scaled_as_the_report_says():
    every = torch.arange(256, dtype=torch.uint8).repeat(3).view(1, 3, 16, 16)
    torch.testing.assert_close(scaled(every)[0], (every.flatten().float() / 255 - 0.5) / 0.5, rtol=0, atol=2e-7)
    assert scaled(every).min() == -1 and scaled(every).max() == 1


def test_bfloat16_in_the_wide_layers_changes_gradients_by_its_rounding_only():
    settings, split = [Setting("tanh", 2), Setting("relu", 2, "he", "batch")], images(32)
    x, y = scaled(split.x).repeat(1, 12)[None], split.y[None]
    exact, rough = (
        DeepStack(settings, [0], 576, 3, WIDTHS, autocast=a).gradient_norms(x, y) for a in (None, torch.bfloat16)
    )
    ratio = (rough / exact).numpy()
    assert 1e-7 < abs(ratio - 1).max() < 0.1


def test_norms_far_below_float32s_squares_are_kept():
    stack, split = DeepStack([Setting("sigmoid", 25)], [0], 48, 3, WIDTHS), images(16)
    norms = stack.gradient_norms(scaled(split.x)[None], split.y[None])
    assert 1e-32 < norms[0, 0, 0] < 1e-18


def test_a_killed_run_ends_with_the_same_numbers_and_a_damaged_checkpoint_does_not_matter(tmp_path, capsys):
    train, val, file = images(40), images(20, 1), tmp_path / "run.safetensors"
    go = lambda epochs, path: deep_stack.fit(SETTINGS, train, val, val, seeds=SEEDS, epochs=epochs, batch_size=8,  # noqa: E731
                                             widths=WIDTHS, checkpoint=path)  # fmt: skip
    whole = go(4, None)
    go(2, file)
    resumed = go(4, file)
    for name in ("train_loss", "val_ranks", "gradients", "weights", "test_loss"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(resumed, name))
    file.write_bytes(file.read_bytes()[:-9])
    anew = go(4, file)
    np.testing.assert_array_equal(whole.test_loss, anew.test_loss)
    assert len(anew.train_loss[0, 0]) == 4 and "run.safetensors is damaged" in capsys.readouterr().err
    deep_stack.fit(SETTINGS[:2], train, val, val, seeds=SEEDS, epochs=2, batch_size=8, widths=WIDTHS, checkpoint=file)
    assert "another architecture" in capsys.readouterr().err


def test_one_example_that_is_left_over_joins_the_last_batch():
    train, settings = images(33), [Setting("relu", 2, "he", "batch")]
    make = lambda parameters: torch.optim.SGD(parameters, lr=0.1)  # noqa: E731
    go = lambda split, size: deep_stack.fit(settings, split, images(9, 1), images(9, 2), seeds=[0], epochs=1,  # noqa: E731
                                            batch_size=size, widths=WIDTHS, optimizer=make)  # fmt: skip
    run = go(train, 16)
    order = torch.randperm(33, generator=torch.Generator().manual_seed(0))
    seed_everything(0)
    model = DeepNetwork(settings[0], 48, 3, WIDTHS)
    optimizer, total = make(model.parameters()), 0.0
    for index in order.split([16, 17]):
        loss = F.cross_entropy(model(scaled(train.x[index])), train.y[index])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item() * len(index)
    assert run.train_loss[0, 0, 0] == pytest.approx(total / 33, rel=1e-4)
    with pytest.raises(ParameterError, match="There is 1 training example; expected 2 or more"):
        go(train[:1], 16)


def test_joined_runs_stand_one_after_the_other():
    train = images(24)
    one, two = (deep_stack.fit([s], train, train, train, seeds=[0], epochs=1, batch_size=8, widths=WIDTHS)
                for s in SETTINGS[:2])  # fmt: skip
    both = deep_stack.join([one, two])
    assert both.train_loss.shape == (2, 1, 1) and both.seconds == one.seconds + two.seconds
    assert both.train_loss[1, 0, 0] == both[1:].train_loss[0, 0, 0] == two.train_loss[0, 0, 0]
    np.testing.assert_array_equal(both[[1]].test_ranks, two.test_ranks)


@pytest.mark.parametrize(
    ("activation", "init", "factor"),
    [
        ("sigmoid", "default", 0.25 / 3**0.5),  # a sigmoid's slope is at most 1/4
        ("tanh", "default", 1 / 3**0.5),
        ("relu", "default", 1 / 6**0.5),
        ("relu", "he", 1.0),
        ("sigmoid", "xavier", 0.25),
    ],
)
def test_factor_of_one_layer_is_the_mean_square_jacobian(activation, init, factor):
    assert expected_factors(activation, init, 40)[-1] == pytest.approx(factor, rel=0.1)


@pytest.mark.parametrize(("init", "factor"), [("default", 1 / 6**0.5), ("xavier", 0.5**0.5), ("he", 1.0)])
def test_relu_stops_one_half_whatever_comes_in(init, factor):
    np.testing.assert_allclose(expected_factors("relu", init, 20), factor, rtol=1e-12)


@pytest.mark.parametrize(("activation", "init"), [("tanh", "xavier"), ("relu", "he"), ("sigmoid", "default")])
def test_expected_factors_are_those_of_wide_networks(activation, init):
    torch.manual_seed(0)
    width, depth = 400, 6
    expected = expected_factors(activation, init, depth)
    stack = DeepNetwork(Setting(activation, depth, init), width, 10, (width,)).double()
    if init == "default":  # the theory's biases are those of the report's narrow layers
        for layer in stack.linear:
            torch.nn.init.uniform_(layer.bias, -0.25, 0.25)
    before = []
    for layer in stack.linear[:-1]:
        layer.register_forward_hook(lambda _module, _inputs, z: (z.retain_grad(), before.append(z))[0])
    stack(torch.randn(40, width, dtype=torch.float64)).square().sum().backward()
    ratios = [float(a.grad.norm() / b.grad.norm()) for a, b in pairwise(before)]
    np.testing.assert_allclose(ratios[1:], expected[1 : len(ratios)], rtol=0.12)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Setting("rellu"), "activation is 'rellu'; expected one of sigmoid, tanh"),
        (lambda: Setting(init="kaiming"), "init is 'kaiming'"),
        (lambda: Setting(norm="group"), "norm is 'group'"),
        (lambda: Setting(extra=-1), "extra is -1"),
        (lambda: expected_factors("rellu", "he", 3), "expected an activation"),
        (lambda: DeepStack([], [0]), "no network to stack"),
        (lambda: DeepStack([Setting(extra=1), Setting()], [0]), "one depth"),
        (lambda: deep_stack.fit(SETTINGS, images(9), images(9), images(9), seeds=[0], epochs=0), "epochs is 0"),
        (
            lambda: deep_stack.fit(
                SETTINGS, Split(torch.rand(4, 5), torch.zeros(4).long()), None, None, seeds=[0], epochs=1
            ),
            "expected uint8",
        ),
    ],
)
def test_bad_settings_are_refused(make, message):
    with pytest.raises(ParameterError, match=message):
        make()
