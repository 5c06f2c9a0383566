"""The compiled loop against PyTorch, step by step, and what it refuses."""

import numpy as np
import pytest
import torch

from cifar_utils.errors import DataError, ParameterError
from cifar_utils.scratch import one_hidden as loop
from cifar_utils.scratch.one_hidden import Settings


def letters(count=40, inputs=12, classes=4, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.random((count, inputs)) < 0.3).astype(float), rng.integers(classes, size=count)


def twin(net):
    """The same network in PyTorch, float64."""
    act = {"sigmoid": torch.nn.Sigmoid(), "tanh": torch.nn.Tanh(), "relu": torch.nn.ReLU()}[net.activation]
    inputs, hidden = net.w1.shape
    model = torch.nn.Sequential(torch.nn.Linear(inputs, hidden), act, torch.nn.Linear(hidden, net.b2.size)).double()
    with torch.no_grad():
        for layer, w, b in ((model[0], net.w1.T, net.b1), (model[2], net.w2, net.b2)):
            layer.weight.copy_(torch.tensor(w))
            layer.bias.copy_(torch.tensor(b))
    return model


@pytest.mark.parametrize("activation", loop.ACTIVATIONS)
@pytest.mark.parametrize(("batch", "optimizer", "l2"), [(1, "sgd", 0.0), (1, "sgd", 0.01), (7, "sgd", 0.01),
                                                        (1, "adam", 0.0), (7, "adam", 0.01)])  # fmt: skip
def test_three_epochs_equal_pytorch(activation, batch, optimizer, l2):
    x, y = letters()
    settings = Settings(6, 0.05, 3, 1, activation, "torch", False, batch, optimizer, l2)
    start = loop.initial(settings, 12, 4)
    course = loop.train(settings, x, y, x[:9], y[:9], start=start)

    model, x_, y_ = twin(start), torch.tensor(x), torch.tensor(y)
    groups = [{"params": [p for p in model.parameters() if p.dim() == d], "weight_decay": wd}
              for d, wd in ((2, l2), (1, 0.0))]  # fmt: skip
    steps = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[optimizer](groups, lr=0.05)
    for epoch in range(3):
        for i in range(0, 40, batch):
            steps.zero_grad()
            torch.nn.functional.cross_entropy(model(x_[i : i + batch]), y_[i : i + batch]).backward()
            steps.step()
        with torch.no_grad():
            scores = model(x_)
        assert course.train_loss[epoch] == pytest.approx(
            float(torch.nn.functional.cross_entropy(scores, y_)), abs=1e-9
        )
        assert course.train_accuracy[epoch] == float((scores.argmax(1) == y_).double().mean())
    assert np.allclose(course.network.w1, model[0].weight.detach().numpy().T, atol=1e-8)
    assert np.allclose(course.network.b2, model[2].bias.detach().numpy(), atol=1e-8)
    assert not np.allclose(course.network.w1, start.w1, atol=1e-4)  # and the start was not overwritten


def test_runs_side_by_side_equal_runs_alone_in_the_order_given():
    x, y = letters()
    runs = [Settings(h, 0.1, 2, s) for h, s in ((3, 0), (9, 1), (5, 0))]
    together = loop.train_all(runs, x, y, x, y, threads=3)
    for run, course in zip(runs, together, strict=True):
        assert (course.train_loss == loop.train(run, x, y, x, y).train_loss).all()
        assert course.network.b1.size == run.hidden


def test_shuffling_and_seeds_change_the_course():
    x, y = letters()
    last = lambda **change: loop.train(Settings(5, 0.1, 2, **change), x, y, x, y).train_loss[-1]  # noqa: E731
    assert len({last(), last(seed=1), last(shuffle=False)}) == 3
    assert last() == last()


def test_evaluate_of_a_network_that_knows_nothing():
    x, y = letters()
    net = loop.initial(Settings(5, 0.1, 1, init="zeros"), 12, 4)
    loss, accuracy = loop.evaluate(net, x, y)
    assert loss == pytest.approx(np.log(4)) and accuracy == np.mean(y == 0)


@pytest.mark.parametrize("init", loop.INITS)
def test_initial_weights_lie_where_they_should(init):
    net = loop.initial(Settings(50, 0.1, 1, init=init), 100, 10)
    largest = abs(net.w1).max()
    if init in ("uniform", "torch"):
        assert 0.095 < largest <= 0.1 and (init == "torch") == (net.b1.any())
    else:
        assert largest == 0 if init == "zeros" else 0.2 < largest < 0.6


@pytest.mark.parametrize(("change", "word"), [
    ({"activation": "sigmoyd"}, "sigmoyd"), ({"init": "he"}, "he"), ({"optimizer": "lbfgs"}, "lbfgs"),
    ({"hidden": 0}, "hidden is 0"), ({"epochs": 0}, "epochs is 0"), ({"batch": 0}, "batch 0"),
])  # fmt: skip
def test_impossible_settings_are_refused(change, word):
    x, y = letters()
    with pytest.raises(ParameterError, match=word):
        loop.train(Settings(**({"hidden": 3, "lr": 0.1, "epochs": 1} | change)), x, y, x, y)


def test_data_that_does_not_fit_is_refused():
    x, y = letters()
    with pytest.raises(DataError, match="39 labels"):
        loop.train(Settings(3, 0.1, 1), x, y[:-1], x, y)
    with pytest.raises(DataError, match="11"):
        loop.train(Settings(3, 0.1, 1), x, y, x[:, :-1], y)
    with pytest.raises(DataError, match="label -1"):
        loop.train(Settings(3, 0.1, 1), x, y - y.max() - 1 + 3, x, y)
    with pytest.raises(DataError, match="12 inputs"):
        loop.train(Settings(3, 0.1, 1), x[:, :5], y, x[:, :5], y, start=loop.initial(Settings(3, 0.1, 1), 12, 4))


@pytest.mark.parametrize(("batch", "optimizer"), [(1, "sgd"), (7, "adam")])
def test_every_step_can_be_told_and_changes_nothing(batch, optimizer):
    x, y = letters()
    settings = Settings(6, 0.05, 2, 1, "relu", "torch", False, batch, optimizer)
    plain, told = (loop.train(settings, x, y, x[:9], y[:9], every_step=each) for each in (False, True))
    assert np.allclose(told.val_losses, plain.val_losses) and np.allclose(told.network.w1, plain.network.w1)
    assert not plain.val_loss_steps and len(told.step_loss) == 2 * -(-40 // batch)

    model = twin(loop.initial(settings, 12, 4))
    steps = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[optimizer](model.parameters(), lr=0.05)
    x_, y_ = torch.tensor(x), torch.tensor(y)
    losses, after = [], []
    for _ in range(2):
        for i in range(0, 40, batch):
            steps.zero_grad()
            loss = torch.nn.functional.cross_entropy(model(x_[i : i + batch]), y_[i : i + batch])
            loss.backward()
            steps.step()
            losses.append(loss.item())
            after.append(torch.nn.functional.cross_entropy(model(x_[:9]), y_[:9]).item())
    assert np.allclose(told.step_loss, losses, atol=1e-8)
    assert np.allclose(told.val_loss_steps, np.reshape(after, (2, -1)).mean(1), atol=1e-8)
