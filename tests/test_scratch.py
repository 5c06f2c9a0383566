import math
import pickle

import numpy as np
import pytest
import torch
from torch import nn

from cifar_utils.errors import DataError, ParameterError
from cifar_utils.files import tensor_files
from cifar_utils.scratch import network as scratch
from cifar_utils.scratch.check import gradient_check
from cifar_utils.scratch.fit import evaluate, fit, side_by_side
from cifar_utils.scratch.network import L1, L2, Network
from cifar_utils.scratch.optim import SGD, Adam

SIZES = [12, 9, 8, 7, 5]


def examples(n=40, dtype=np.float64, seed=1, inputs=12, classes=5):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, inputs)).astype(dtype), rng.integers(classes, size=n)


def as_torch(network: Network) -> nn.Sequential:
    """The same network, weights and all, from PyTorch's own parts."""
    functions = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "linear": nn.Identity}
    layers = []
    for k, dense in enumerate(network.dense):
        w, b = (torch.from_numpy(p.copy()) for p in dense.parameters)
        linear = nn.Linear(*w.shape, dtype=w.dtype)
        linear.weight.data, linear.bias.data = w.T.contiguous(), b
        layers += [*([functions[network.settings["activation"]]()] if k else []), linear]
    return nn.Sequential(*layers)


@pytest.mark.parametrize("activation", scratch.ACTIVATIONS)
@pytest.mark.parametrize("penalties", [(), (L1(0.02),), (L2(0.05),), (L1(0.02), L2(0.05))], ids=str)
@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_gradients_agree_with_central_differences(activation, penalties, dropout):
    network = Network(SIZES, activation, dropout=dropout, penalties=penalties, seed=3, dtype=np.float64)
    for layer in network.dense:  # biases off zero, so that none of them is a special point
        layer.parameters[1][:] = np.random.default_rng(4).normal(size=layer.parameters[1].shape)
    assert gradient_check(network, *examples()) < 1e-6


def test_gradient_check_notices_a_wrong_line(monkeypatch):
    function = scratch.ACTIVATIONS["tanh"][0]
    monkeypatch.setitem(scratch.ACTIVATIONS, "tanh", (function, lambda y: 1 - y))
    network = Network(SIZES, "tanh", dtype=np.float64)
    before = [p.copy() for p in network.parameters]
    assert gradient_check(network, *examples()) > 1e-2
    for p, q in zip(network.parameters, before, strict=True):
        np.testing.assert_array_equal(p, q)
    with pytest.raises(ParameterError, match="float64"):
        gradient_check(Network(SIZES), *examples())


@pytest.mark.parametrize("activation", scratch.ACTIVATIONS)
@pytest.mark.parametrize(
    "ours, theirs",
    [
        (SGD(0.1), lambda p: torch.optim.SGD(p, 0.1)),
        (SGD(0.05, 0.9, 0.01), lambda p: torch.optim.SGD(p, 0.05, 0.9, weight_decay=0.01)),
        (Adam(0.01), lambda p: torch.optim.Adam(p, 0.01)),
        (Adam(0.01, weight_decay=0.02), lambda p: torch.optim.Adam(p, 0.01, weight_decay=0.02)),
    ],
    ids=["sgd", "momentum-decay", "adam", "adam-decay"],
)
def test_steps_are_those_of_pytorch(activation, ours, theirs):
    network = Network(SIZES, activation, seed=5, dtype=np.float64)
    optimizer = type(ours)(**{k: v for k, v in vars(ours).items() if k not in ("slots", "steps")})
    model = as_torch(network)
    their_optimizer = theirs(model.parameters())
    for step in range(30):
        x, y = examples(seed=step)
        loss, _ = network.loss(x, y)
        optimizer.step(network.parameters, network.gradients)
        expected = nn.functional.cross_entropy(model(torch.from_numpy(x)), torch.from_numpy(y))
        their_optimizer.zero_grad()
        expected.backward()
        their_optimizer.step()
        assert loss == pytest.approx(expected.item(), rel=1e-9)


def test_float32_training_is_pytorchs():
    x, y = examples(200, np.float32)
    network = Network(SIZES, "relu", seed=2)
    model = as_torch(network)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    order = np.random.default_rng([7, 0]).permutation(200)
    history = fit(network, SGD(0.1), x, y, epochs=1, batch_size=16, seed=7)
    total = 0.0
    for start in range(0, 200, 16):
        index = order[start : start + 16]
        value = nn.functional.cross_entropy(model(torch.from_numpy(x[index])), torch.from_numpy(y[index]))
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        total += value.item() * len(index)
    assert history.train_loss[0] == pytest.approx(total / 200, rel=1e-5)
    assert all(p.dtype == np.float32 for p in network.parameters)


def test_penalties_are_those_of_pytorch():
    x, y = examples()
    network = Network(SIZES, "relu", penalties=[L1(0.03), L2(0.07)], dtype=np.float64)
    loss, _ = network.loss(x, y)
    model = as_torch(network)
    weights = [layer.weight for layer in model if isinstance(layer, nn.Linear)]
    expected = nn.functional.cross_entropy(model(torch.from_numpy(x)), torch.from_numpy(y))
    expected = expected + sum(0.03 * w.abs().sum() + 0.07 / 2 * w.square().sum() for w in weights)
    expected.backward()
    assert loss == pytest.approx(expected.item(), rel=1e-12)
    for layer, w in zip(network.dense, weights, strict=True):
        np.testing.assert_allclose(layer.gradients[0], w.grad.T.numpy(), rtol=1e-9, atol=1e-12)


def test_l2_is_weight_decay_in_sgd():
    x, y = examples()
    decayed, penalised = Network([12, 5], dtype=np.float64), Network([12, 5], penalties=[L2(0.3)], dtype=np.float64)
    for network, optimizer in ((decayed, SGD(0.1, weight_decay=0.3)), (penalised, SGD(0.1))):
        network.loss(x, y)
        optimizer.step(network.parameters[:1], network.gradients[:1])
    np.testing.assert_allclose(decayed.parameters[0], penalised.parameters[0], rtol=1e-12)


def test_dropout_has_the_distribution_of_pytorchs():
    x = np.ones((200, 500))
    ours, theirs = scratch.Dropout(0.3, seed=1), nn.Dropout(0.3)
    torch.manual_seed(0)
    a, b = ours.forward(x, training=True), theirs(torch.from_numpy(x)).numpy()
    assert set(np.unique(a)) == {0.0, 1 / 0.7} == set(np.unique(b))
    deviation = math.sqrt(0.3 * 0.7 / x.size)  # of the share that is dropped
    for values in (a, b):
        assert abs((values == 0).mean() - 0.3) < 5 * deviation
    assert abs(a.mean() - 1) < 5 * deviation / 0.7
    # rows and columns are dropped independently: counts vary as a binomial's do
    assert (a == 0).sum(1).var() == pytest.approx(500 * 0.21, rel=0.4)
    np.testing.assert_array_equal(ours.backward(x), a)  # the gradient passes where the number passed
    np.testing.assert_array_equal(ours.forward(x), x)
    np.testing.assert_array_equal(ours.backward(x), x)
    assert not np.array_equal(ours.forward(x, training=True), a)


def test_cross_entropy_of_huge_logits_is_finite():
    z = np.array([[1e4, 0.0, -1e4], [800.0, 801.0, 0.0]])
    loss, dz = scratch.cross_entropy(z, np.array([0, 0]))
    assert loss == pytest.approx((0 + math.log(1 + math.e)) / 2)
    assert np.isfinite(dz).all() and abs(dz.sum()) < 1e-12
    np.testing.assert_allclose(scratch.softmax(z).sum(1), 1)


@pytest.mark.parametrize("how, std", [("he", (2 / 300) ** 0.5), ("xavier", 0.05), ("lecun", 300**-0.5),
                                      ("uniform", 900**-0.5), (0.3, 0.3), (0.0, 0.0)])  # fmt: skip
def test_initial_weights_have_their_deviation(how, std):
    w = scratch.initial_weights(np.random.default_rng(0), 300, 500, how)
    assert w.shape == (300, 500)
    assert w.std() == pytest.approx(std, rel=0.02) and abs(w.mean()) < 0.01


def test_networks_of_one_seed_start_alike_in_both_precisions():
    a, b = Network(SIZES, seed=3), Network(SIZES, seed=3, dtype=np.float64)
    for p, q in zip(a.parameters, b.parameters, strict=True):
        np.testing.assert_array_equal(p, q.astype(np.float32))
    assert not np.array_equal(a.parameters[0], Network(SIZES, seed=4).parameters[0])
    assert not a.parameters[1].any()


def test_hidden_activations_are_those_on_the_way_to_the_logits():
    x, _ = examples(50)
    network = Network(SIZES, "tanh", dropout=0.5, dtype=np.float64)
    last = network.activations(x, at_once=7)
    assert last.shape == (50, 7) and network.activations(x, 0).shape == (50, 9)
    np.testing.assert_allclose(network.dense[-1].forward(last), network.forward(x))
    np.testing.assert_array_equal(network.predict(x, at_once=7), network.forward(x).argmax(1))
    with pytest.raises(ParameterError, match="no hidden layer 3; the network has 3"):
        network.activations(x, 3)


def test_fit_learns_and_measures_after_every_epoch():
    x, y = examples(300, np.float32)
    y = (x @ np.random.default_rng(0).normal(size=(12, 5))).argmax(1)
    network = Network([12, 32, 5], "relu")
    history = fit(network, Adam(0.01), x, y, epochs=20, batch_size=30, evaluate_on={"train": (x, y)})
    assert history.outcome == "finished" and len(history.train_loss) == 20
    assert history.evaluations["train"]["accuracy"][-1] > 0.9
    assert evaluate(network, x, y, at_once=33) == pytest.approx(
        [history.evaluations["train"][k][-1] for k in ("loss", "accuracy")], rel=1e-5
    )


@pytest.mark.parametrize("optimizer", [SGD, lambda lr: SGD(lr, momentum=0.9), Adam])
def test_a_killed_run_ends_with_the_same_numbers(tmp_path, optimizer):
    x, y = examples(100, np.float32)
    whole = Network(SIZES, "relu", dropout=0.2)
    expected = fit(whole, optimizer(0.01), x, y, epochs=4, batch_size=32, seed=1)
    path = tmp_path / "a" / "run.safetensors"
    fit(Network(SIZES, "relu", dropout=0.2), optimizer(0.01), x, y, epochs=2, batch_size=32, seed=1, checkpoint=path)
    resumed = Network(SIZES, "relu", dropout=0.2, seed=9)
    found = fit(resumed, optimizer(0.01), x, y, epochs=4, batch_size=32, seed=1, checkpoint=path)
    assert found.train_loss == expected.train_loss
    for p, q in zip(whole.parameters, resumed.parameters, strict=True):
        np.testing.assert_array_equal(p, q)


@pytest.mark.parametrize("damage", ["empty", "one bit", "no steps", "another network"])
def test_a_damaged_checkpoint_is_put_aside_and_the_run_starts_anew(tmp_path, damage, capsys):
    x, y = examples(100, np.float32)
    train = lambda network, **where: fit(network, Adam(0.01), x, y, epochs=2, batch_size=32, seed=1, **where)  # noqa: E731
    path = tmp_path / "run.safetensors"
    train(Network([12, 9, 5] if damage == "another network" else SIZES, "relu"), checkpoint=path)
    if damage == "no steps":
        arrays, texts = tensor_files.read(path)
        tensor_files.write(path, arrays, {k: v for k, v in texts.items() if k != "steps"})
    elif damage != "another network":
        content = path.read_bytes()
        path.write_bytes(b"" if damage == "empty" else content[:-1] + bytes([content[-1] ^ 1]))
    whole, again = Network(SIZES, "relu", seed=3), Network(SIZES, "relu", seed=3)
    train(whole)
    train(again, checkpoint=path)
    for p, q in zip(whole.parameters, again.parameters, strict=True):
        np.testing.assert_array_equal(p, q)
    assert "run.safetensors.damaged, and its training starts anew" in capsys.readouterr().err


def test_networks_trained_side_by_side_are_those_trained_alone():
    x, y = examples(100, np.float32)
    make = lambda seed: Network(SIZES, "relu", seed=seed)  # noqa: E731
    how = {"epochs": 2, "batch_size": 16, "evaluate_on": {"train": (x, y)}}

    def one(seed):
        network = make(seed)
        return network, fit(network, SGD(0.1), x, y, seed=seed, **how)

    found = side_by_side([(one, (seed,), {}) for seed in range(3)], workers=2)
    for seed, (network, history) in enumerate(found):
        alone = make(seed)
        expected = fit(alone, SGD(0.1), x, y, seed=seed, **how)
        assert history.train_loss == pytest.approx(expected.train_loss, rel=1e-6)
        assert history.evaluations["train"]["loss"] == pytest.approx(expected.evaluations["train"]["loss"], rel=1e-6)
        np.testing.assert_allclose(network.parameters[0], alone.parameters[0], rtol=1e-4, atol=1e-6)
    assert side_by_side([(one, (0,), {})], workers=1)[0][1].train_loss == found[0][1].train_loss
    with pytest.raises(ParameterError, match="workers is -1"):
        side_by_side([(one, (0,), {})], workers=-1)


def test_a_network_of_more_than_a_megabyte_learns_in_another_process():
    x, y = examples(40, np.float32)
    wide = [Network((SIZES[0], 60_000, SIZES[-1]), "relu", seed=seed) for seed in range(2)]
    first = [network.parameters[0].copy() for network in wide]
    calls = [(_trained, (network, x, y), {}) for network in wide]
    found = side_by_side(calls, workers=2)
    for network, before, after in zip(wide, first, found, strict=True):
        assert not np.array_equal(after, before)
        np.testing.assert_array_equal(network.parameters[0], before)  # the caller's own is not written to


def _trained(network, x, y):
    fit(network, SGD(0.1), x, y, batch_size=40, epochs=1)
    return network.parameters[0]


def test_marks_take_the_place_of_epochs():
    x, y = examples(100, np.float32)
    make = lambda: Network(SIZES, "relu", seed=3)  # noqa: E731
    how = {"batch_size": 7, "seed": 5, "evaluate_on": {"train": (x, y)}}
    history = fit(network := make(), SGD(0.1), x, y, marks=(3, 10), **how)
    by_hand, rng = make(), np.random.default_rng(5)
    for _ in range(10):
        index = rng.integers(100, size=7)
        by_hand.loss(x[index], y[index])
        SGD(0.1).step(by_hand.parameters, by_hand.gradients)
    np.testing.assert_array_equal(network.parameters[0], by_hand.parameters[0])
    assert history.iterations == 10 and len(history.train_loss) == 2
    assert history.evaluations["train"]["accuracy"][-1] == evaluate(by_hand, x, y)[1]


def test_what_is_watched_is_the_gradient_of_all_and_the_penalty_in_the_loss():
    x, y = examples(20, np.float64)
    network = Network(SIZES, "tanh", penalties=[L1(0.01)], seed=1, dtype=np.float64)
    by_hand = Network(SIZES, "tanh", penalties=[L1(0.01)], seed=1, dtype=np.float64)
    history = fit(network, SGD(0.1), x, y, epochs=1, batch_size=20, watch=True, keep_first=2)
    loss, _ = by_hand.loss(x, y)
    norm = np.linalg.norm(np.concatenate([g.ravel() for g in by_hand.gradients]))
    assert history.step_loss == pytest.approx([loss]) and history.gradient_norm == pytest.approx([norm])
    weights = np.concatenate([p.ravel() for p in by_hand.parameters[::2]])
    assert history.penalty == pytest.approx([0.01 * np.abs(weights).sum()])
    begun = fit(Network(SIZES, "tanh", seed=1), SGD(0.1), x, y, epochs=3, batch_size=4, keep_first=8, steps=2)
    assert len(begun.step_loss) == 2 and not begun.train_loss


def test_a_run_that_diverges_ends():
    x, y = examples(100, np.float32)
    history = fit(Network(SIZES, "linear"), SGD(1e6), 100 * x, y, epochs=50, batch_size=10)
    assert history.outcome == "diverged" and len(history.train_loss) < 50


def test_saved_networks_come_back_without_running_code(tmp_path):
    x, _ = examples(dtype=np.float32)
    network, path = Network(SIZES, "tanh", seed=1), tmp_path / "net.safetensors"
    network.save(path)
    other = Network(SIZES, "tanh", seed=2)
    other.load(path)
    np.testing.assert_array_equal(network.forward(x), other.forward(x))
    with pytest.raises(pickle.UnpicklingError):
        pickle.loads(path.read_bytes())


@pytest.mark.parametrize("other, what", [(Network([12, 9, 5]), "sizes"), (Network(SIZES, "relu"), "activation")])
def test_weights_of_another_architecture_are_refused(tmp_path, other, what):
    Network(SIZES, "tanh").save(tmp_path / "net.safetensors")
    before = other.parameters[0].copy()
    with pytest.raises(DataError, match=f"holds a network with {what}"):
        other.load(tmp_path / "net.safetensors")
    np.testing.assert_array_equal(other.parameters[0], before)


@pytest.mark.parametrize("make, message", [
    (lambda: Network(SIZES, "sigmiod"), "called 'sigmiod'; expected one of relu, sigm.*, linear.*mean 'sigmoid'"),
    (lambda: Network([3, 2], "ReLu"), "mean 'relu'"),
    (lambda: Network(SIZES, initialisation="xaver"), "mean 'xavier'"),
    (lambda: Network(SIZES, initialisation=-1.0), "deviation of the weights is -1.0"),
    (lambda: Network([4]), "sizes are"),
    (lambda: Network(SIZES, dropout=1.0), "less than 1"),
    (lambda: fit(Network([9, 5]), SGD(), *examples(), epochs=1, batch_size=4), r"expected \(N, 9\)"),
    (lambda: fit(Network([12, 4]), SGD(), *examples(), epochs=1, batch_size=4), r"0\.\.3"),
    (lambda: fit(Network(SIZES), SGD(), *examples(), epochs=1, batch_size=0), "1 or more"),
])  # fmt: skip
def test_bad_input_is_refused(make, message):
    with pytest.raises(ParameterError, match=message):
        make()
