"""Networks trained together are the networks trained alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from cifar_utils.data.batches import Batches, training_batches
from cifar_utils.data.sets import Split
from cifar_utils.errors import ParameterError
from cifar_utils.train import stacked as sweep
from cifar_utils.train.loop import fit, seed_everything


def points(count: int, seed: int = 0) -> Split:
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 6, generator=g)
    return Split(x, (x[:, 0] * x[:, 1] > 0).long() + (x[:, 2] > 1).long())


def images(count: int) -> Split:
    g = torch.Generator().manual_seed(3)
    return Split(torch.randint(256, (count, 3, 5, 4), dtype=torch.uint8, generator=g), torch.arange(count) % 3)


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(6, 9), nn.Tanh(), nn.Linear(9, 7), nn.ReLU(), nn.Linear(7, 3))


def image_network() -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.Linear(60, 8), nn.Sigmoid(), nn.Linear(8, 3))


def alone(build, split, held_out, seed, lr, weight_decay=0.0, momentum=0.0, batch_size=10, epochs=6, order_seed=None):
    seed_everything(seed)
    model = build()
    batches = training_batches(split, batch_size, seed=seed if order_seed is None else order_seed)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, weight_decay=weight_decay, momentum=momentum)
    sets = {"held out": Batches.for_evaluation(held_out, batches)}
    return fit(model, batches, optimizer, epochs=epochs, evaluate_on=sets, every_step=True), model


SEEDS, RATES, DECAYS = [0, 1, 1, 7], [0.01, 0.1, 0.3, 0.05], [0.0, 0.01, 0.1, 0.0]


@pytest.mark.parametrize("order", ["own", "shared"])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize(("build", "make"), [(network, points), (image_network, images)])
def test_every_member_goes_as_its_solo_run(build, make, momentum, order):
    split, held_out = make(93), make(31)  # 93: the last batch is a short one
    together = sweep.fit(build, split, seeds=SEEDS, lr=RATES, weight_decay=DECAYS, momentum=momentum, batch_size=10,
                         epochs=6, order=order, evaluate_on={"held out": held_out}, every_step=True)  # fmt: skip
    for m, (seed, lr, decay) in enumerate(zip(SEEDS, RATES, DECAYS, strict=True)):
        first = SEEDS[0] if order == "shared" else None
        history, model = alone(build, split, held_out, seed, lr, decay, momentum, order_seed=first)
        ours = together.histories[m]
        torch.testing.assert_close(ours.step_loss[:50], history.step_loss[:50], rtol=1e-4, atol=0)
        assert len(ours.step_loss) == len(history.step_loss) == ours.iterations == history.iterations == 60
        torch.testing.assert_close(ours.train_loss, history.train_loss, rtol=1e-3, atol=1e-5)
        torch.testing.assert_close(ours.train_accuracy, history.train_accuracy, rtol=0, atol=0.02)
        for what in ("loss", "accuracy"):
            torch.testing.assert_close(
                ours.evaluations["held out"][what], history.evaluations["held out"][what], rtol=1e-3, atol=1e-5
            )
        assert ours.outcome == history.outcome == "finished" and ours.lr == history.lr
        member = together.networks.member(m)
        for a, b in zip(member.parameters(), model.parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


def test_one_example_that_is_left_over_joins_the_last_batch_as_in_a_solo_run():
    split, held_out = points(91), points(31)
    ours = sweep.fit(network, split, seeds=[7], lr=0.1, batch_size=10, epochs=2, every_step=True).histories[0]
    history, _ = alone(network, split, held_out, 7, 0.1, epochs=2)
    assert len(ours.step_loss) == ours.iterations == history.iterations == 18
    torch.testing.assert_close(ours.step_loss, history.step_loss, rtol=1e-4, atol=0)
    torch.testing.assert_close(ours.train_loss, history.train_loss, rtol=1e-4, atol=0)


def test_members_of_one_seed_and_rate_are_twins_and_others_are_not():
    histories = sweep.fit(network, points(50), seeds=[4, 4, 5], lr=0.1, batch_size=10, epochs=2).histories
    assert histories[0].train_loss == pytest.approx(histories[1].train_loss, rel=1e-5)
    assert histories[0].train_loss != pytest.approx(histories[2].train_loss, rel=1e-3)


def test_a_member_that_diverges_says_so_and_leaves_the_others_alone():
    split = points(60)
    run = sweep.fit(network, split, seeds=[0, 0, 1], lr=[0.05, 1e6, 0.05], batch_size=10, epochs=4,
                    evaluate_on={"same": split})  # fmt: skip
    assert [h.outcome for h in run.histories] == ["finished", "diverged", "finished"]
    assert run.histories[1].epochs < 4 and run.histories[0].epochs == 4
    assert run.histories[1].epochs == len(run.histories[1].evaluations["same"]["loss"])
    calm = sweep.fit(network, split, seeds=[0, 1], lr=0.05, batch_size=10, epochs=4).histories
    assert run.histories[0].train_loss == pytest.approx(calm[0].train_loss, rel=1e-4)
    assert run.histories[2].train_loss == pytest.approx(calm[1].train_loss, rel=1e-4)


def test_a_sweep_in_which_all_diverge_ends():
    run = sweep.fit(network, points(60), seeds=[0, 1], lr=1e8, batch_size=10, epochs=1000)
    assert [h.outcome for h in run.histories] == ["diverged"] * 2 and run.histories[0].epochs < 20


def test_stack_scores_as_its_members_do():
    seed_everything(0)
    members = [network() for _ in range(3)]
    stack, x = sweep.Stack(members), torch.randn(5, 6)
    own = torch.stack([torch.randn(5, 6) for _ in members])
    assert stack(x).shape == (3, 5, 3)
    for m, model in enumerate(members):
        torch.testing.assert_close(stack(x)[m], model(x))
        torch.testing.assert_close(stack(own)[m], model(own[m]))
        torch.testing.assert_close(stack.member(m)(x), model(x))
    assert sum(p.numel() for p in stack.parameters()) == 3 * sum(p.numel() for p in members[0].parameters())


def test_dropout_works_in_training_only():
    build = lambda: nn.Sequential(nn.Linear(6, 50), nn.Dropout(0.5), nn.Linear(50, 3))  # noqa: E731
    stack, x = sweep.Stack([build(), build()]), torch.randn(4, 6)
    assert not torch.equal(stack.train()(x), stack.train()(x))
    assert torch.equal(stack.eval()(x), stack.eval()(x))
    assert not stack.member(0).training


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Linear(4, 3)), "cannot hold a BatchNorm1d"),
        (lambda: nn.Sequential(nn.Linear(6, 4, bias=False), nn.Linear(4, 3)), "need a bias"),
        (lambda: nn.Sequential(nn.Tanh(), nn.Linear(6, 3)), "first layer .* must be Linear"),
    ],
)
def test_networks_that_cannot_be_stacked_are_refused(build, message):
    with pytest.raises(ParameterError, match=message):
        sweep.fit(build, points(20), seeds=[0, 1], lr=0.1, batch_size=5, epochs=1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lr": [0.1]}, "lr has 1 values for 2 seeds"),
        ({"weight_decay": [0.1] * 3}, "weight_decay has 3 values for 2 seeds"),
        ({"order": "mixed"}, "order is 'mixed'; expected 'own', 'shared' or a seed"),
        ({"epochs": 0}, "epochs is 0"),
        ({"batch_size": 0}, "batch_size 0"),
        ({"seeds": []}, "no network to stack"),
    ],
)
def test_bad_settings_are_refused(change, message):
    settings = {"seeds": [0, 1], "lr": 0.1, "batch_size": 5, "epochs": 1} | change
    with pytest.raises(ParameterError, match=message):
        sweep.fit(network, points(20), **settings)
