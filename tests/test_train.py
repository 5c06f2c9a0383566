from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from small_training import Net, run, same, weights
from torch import nn
from torch.nn import functional as F

from cifar_utils.data import standin as sample
from cifar_utils.data.batches import Batches, training_batches
from cifar_utils.data.sets import Split
from cifar_utils.errors import ParameterError
from cifar_utils.models.softmax import SoftmaxRegression
from cifar_utils.train import loop as train
from cifar_utils.train.loop import History, evaluate, fit, seed_everything


@pytest.fixture(scope="module")
def shapes():
    """The sample's images, as many as a linear classifier needs to learn something."""
    parts = {name: sample.shapes(count, seed) for seed, (name, count) in enumerate((("train", 2000), ("test", 600)))}
    return SimpleNamespace(**{name: Split(*map(torch.from_numpy, part)) for name, part in parts.items()})


# ---- learning ----------------------------------------------------------------------------------


def test_softmax_regression_learns_the_sample(shapes):
    seed_everything(0)
    batches = training_batches(shapes.train, 100)
    test = Batches.for_evaluation(shapes.test, batches)
    model = SoftmaxRegression(3072, 10)
    loss, accuracy = evaluate(model, test)
    assert loss == pytest.approx(math.log(10), abs=1e-5)
    history = fit(model, batches, torch.optim.SGD(model.parameters(), lr=1e-3), epochs=5, evaluate_on={"test": test})
    assert history.outcome == "finished" and history.epochs == 5 and history.iterations == 100
    assert history.last("test") > 0.2  # chance is 0.10 +- 0.012
    assert history.train_accuracy[-1] > 0.23 and history.train_loss[-1] < history.train_loss[0] < math.log(10) * 1.2
    assert history.last("test") == evaluate(model, test)[1]
    assert math.isnan(history.last("val"))


def test_shuffled_labels_are_not_learned(shapes):
    """The control of the test above: what it measures goes away with the labels."""
    g = torch.Generator().manual_seed(0)
    wrong = Split(shapes.train.x, shapes.train.y[torch.randperm(2000, generator=g)])
    batches = training_batches(wrong, 100)
    test = Batches.for_evaluation(shapes.test, batches)
    model = SoftmaxRegression(3072, 10)
    history = fit(model, batches, torch.optim.SGD(model.parameters(), lr=1e-3), epochs=5, evaluate_on={"test": test})
    assert history.last("test") < 0.17


def test_the_loop_equals_a_loop_by_hand(images):
    torch.manual_seed(0)
    model = Net(dropout=0.0)
    by_hand = Net(dropout=0.0)
    by_hand.load_state_dict(model.state_dict())
    options = {"crop": 2, "flip": True, "seed": 3}
    history = fit(model, training_batches(images, 16, **options), torch.optim.SGD(model.parameters(), 0.05),
                  epochs=2, every_step=True)  # fmt: skip
    optimizer, batches = torch.optim.SGD(by_hand.parameters(), 0.05), training_batches(images, 16, **options)
    losses, means, accuracies = [], [], []
    for _ in range(2):
        total = correct = 0
        for x, y in batches:
            scores = by_hand(x)
            loss = F.cross_entropy(scores, y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            total += loss.item() * len(y)
            correct += (scores.argmax(1) == y).sum().item()
        means.append(total / 60)
        accuracies.append(correct / 60)
    assert torch.equal(weights(model), weights(by_hand))
    assert history.step_loss == losses
    assert history.train_loss == pytest.approx(means, rel=1e-6)
    assert history.train_accuracy == pytest.approx(accuracies)


@pytest.mark.parametrize("threads", [1, 2])
def test_same_seed_gives_the_same_bits_and_another_seed_does_not(images, threads):
    torch.set_num_threads(threads)
    (a, first), (b, second), (c, _) = (run(images, epochs=3, seed=s) for s in (0, 0, 1))
    assert torch.equal(weights(a), weights(b)) and same(first, second)
    assert not torch.equal(weights(a), weights(c))


# ---- length and schedule -----------------------------------------------------------------------


def test_iterations_and_epochs(images):
    _, history = run(images, iterations=10, every_step=True)  # 60 images in batches of 16: 4 a pass
    assert history.epochs == 3 and history.iterations == 10 == len(history.step_loss)
    assert len(history.evaluations["val"]["loss"]) == len(history.lr) == 3
    _, whole = run(images, epochs=3, every_step=True)
    assert whole.iterations == 12 == len(whole.step_loss) and whole.step_loss[:10] == history.step_loss
    assert run(images, iterations=8)[1].train_loss == run(images, epochs=2)[1].train_loss
    assert run(images, epochs=2)[1].step_loss == []


@pytest.mark.parametrize("options", [{}, {"epochs": 2, "iterations": 3}, {"epochs": 0}, {"iterations": 0}])
def test_length_must_be_one_of_the_two_and_positive(images, options):
    model = Net()
    with pytest.raises(ParameterError, match="epochs"):
        fit(model, Batches(images, 16), torch.optim.SGD(model.parameters(), 0.1), **options)


def test_schedule_by_epoch_and_by_step(images):
    _, history = run(images, epochs=4, schedule="milestones")
    assert history.lr == pytest.approx([0.05, 0.005, 0.005, 0.0005])
    _, history = run(images, epochs=2, schedule="step", schedule_every="step")  # halves every second step
    assert history.lr == pytest.approx([0.05 / 4, 0.05 / 16])
    with pytest.raises(ParameterError, match="schedule_every is 'batch'"):
        run(images, schedule_every="batch")


# ---- diverging and stopping --------------------------------------------------------------------


def test_an_exploding_run_ends_as_diverged_with_its_history(images, tmp_path):
    seed_everything(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(360, 64), nn.ReLU(), nn.Linear(64, 10))
    batches = training_batches(images, 16)
    path = tmp_path / "run.safetensors"
    history = fit(model, batches, torch.optim.SGD(model.parameters(), lr=1e6), epochs=20, checkpoint=path)
    assert history.outcome == "diverged" and 1 <= history.epochs < 20
    assert len(history.train_loss) == history.epochs
    again = fit(model, batches, torch.optim.SGD(model.parameters(), lr=1e6), epochs=20, checkpoint=path)
    assert again.outcome == "diverged" and again.epochs == history.epochs  # it is not continued


@pytest.mark.parametrize("bad", [math.nan, math.inf, 2e4])
def test_what_counts_as_diverged(images, bad):
    model = nn.Sequential(nn.Flatten(), nn.Linear(360, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    loss = lambda scores, y: scores.sum() * 0 + bad  # noqa: E731
    history = fit(model, Batches(images, 16), optimizer, epochs=5, loss=loss)
    assert history.outcome == "diverged" and history.epochs == 1
    assert not history.train_loss[0] < 1e4


def test_early_stopping_waits_for_patience(images, monkeypatch):
    values = iter([3.0, 2.0, 2.5, 2.2, 1.9, 2.0, 2.0, 2.0, 1.0])
    monkeypatch.setattr(train, "evaluate", lambda *a: (next(values), 0.5))
    _, history = run(images, epochs=9, patience=3)
    assert history.outcome == "stopped early"
    assert history.evaluations["val"]["loss"] == [3.0, 2.0, 2.5, 2.2, 1.9, 2.0, 2.0, 2.0]


def test_patience_needs_a_validation_set(images):
    model = Net()
    batches = Batches(images, 16)
    with pytest.raises(ParameterError, match="set called 'val'"):
        fit(model, batches, torch.optim.SGD(model.parameters(), 0.1), epochs=1, patience=2,
            evaluate_on={"test": batches})  # fmt: skip


# ---- options -----------------------------------------------------------------------------------


def test_clip_norm_equals_clipping_by_hand(images):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(360, 10))
    start = weights(model)
    batches = training_batches(images, 60, shuffle=False)
    scale = 100.0
    loss = lambda scores, y: scale * F.cross_entropy(scores, y)  # noqa: E731
    x, y = next(iter(batches))
    gradient = torch.autograd.grad(loss(model(x), y), list(model.parameters()))
    norm = torch.cat([g.flatten() for g in gradient]).norm()
    assert norm > 2.0
    by_hand = start - torch.cat([g.flatten() for g in gradient]).double() * (2.0 / norm.double())
    fit(model, batches, torch.optim.SGD(model.parameters(), lr=1.0), epochs=1, loss=loss, clip_norm=2.0)
    assert torch.allclose(weights(model), by_hand, atol=1e-5)
    assert (weights(model) - start).norm().item() == pytest.approx(2.0, rel=1e-4)


def test_clip_norm_leaves_small_gradients_alone(images):
    a, _ = run(images, epochs=2, clip_norm=1e6)
    b, _ = run(images, epochs=2)
    assert torch.allclose(weights(a), weights(b), atol=1e-5)


def test_bfloat16_autocast_keeps_float32_weights(images):
    seen = []

    class Watched(Net):
        def forward(self, x):
            scores = super().forward(x)
            seen.append(scores.dtype)
            return scores

    model, history = run(images, epochs=2, net=Watched, autocast=torch.bfloat16)
    assert set(seen) == {torch.bfloat16}
    assert all(p.dtype == torch.float32 for p in model.parameters())
    _, exact = run(images, epochs=2)
    assert history.train_loss == pytest.approx(exact.train_loss, rel=0.05) and history.outcome == "finished"


def test_channels_last_gives_the_same_training(images):
    def net(**options):
        seed_everything(0)
        model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 10 * 8, 10))
        if options:
            model = model.to(memory_format=torch.channels_last)
        batches = training_batches(images, 16, **options)
        return fit(model, batches, torch.optim.SGD(model.parameters(), 0.05), epochs=2).train_loss

    assert net(channels_last=True) == pytest.approx(net(), rel=1e-4)


@pytest.mark.parametrize("mode", [True, False])
def test_evaluate_leaves_the_mode_and_makes_no_gradients(images, mode):
    torch.manual_seed(0)
    model = Net(dropout=0.9).train(mode)
    before = weights(model)
    batches = Batches(images, 25, shuffle=False)
    state = torch.get_rng_state()
    loss, accuracy = evaluate(model, batches)
    assert model.training is mode and torch.equal(weights(model), before)  # batch norm's averages too
    assert all(p.grad is None for p in model.parameters())
    assert torch.equal(torch.get_rng_state(), state)  # no dropout was drawn
    with torch.no_grad():
        scores = model.eval()(images.x.float() / 255)
    assert loss == pytest.approx(F.cross_entropy(scores, images.y).item(), rel=1e-5)
    assert accuracy == pytest.approx((scores.argmax(1) == images.y).double().mean().item())


def test_fit_trains_in_training_mode_and_evaluate_records_nothing_for_gradients(images):
    seen = []

    class Watched(Net):
        def forward(self, x):
            seen.append((self.training, torch.is_grad_enabled()))
            return super().forward(x)

    model = Watched().eval()
    batches = Batches(images, 30)
    fit(model, batches, torch.optim.SGD(model.parameters(), 0.1), epochs=2, evaluate_on={"val": batches})
    assert seen == [(True, True), (True, True), (False, False), (False, False)] * 2


def test_seconds_add_up_over_a_kill(images, tmp_path, monkeypatch):
    clock = iter(range(0, 10_000, 10))
    monkeypatch.setattr(train.time, "perf_counter", lambda: next(clock))
    path = tmp_path / "run.safetensors"
    assert run(images, epochs=3, checkpoint=path)[1].seconds == 30
    assert run(images, epochs=5, checkpoint=path)[1].seconds == 50


def test_fit_uses_one_batch_call_a_step(images, monkeypatch):
    calls = []
    original = Batches.batch
    monkeypatch.setattr(Batches, "batch", lambda self, *a: calls.append(1) or original(self, *a))
    model = Net()
    fit(model, Batches(images, 16), torch.optim.SGD(model.parameters(), 0.1), iterations=6)
    assert len(calls) == 6


def test_progress_is_silent_unless_asked_for(images, capfd):
    run(images, epochs=1)
    assert capfd.readouterr() == ("", "")
    run(images, epochs=1, progress="softmax")
    out, err = capfd.readouterr()
    assert "softmax" in out + err


def test_history_of_nothing():
    assert History().epochs == 0 and History().outcome == "running" and math.isnan(History().last("val"))
