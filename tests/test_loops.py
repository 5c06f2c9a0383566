"""Loops beside PyTorch's: many trainings at once are what each would be alone, and are found again one by one."""

import importlib

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import log_loss
from sklearn.neural_network import MLPClassifier

from cifar_utils.errors import ParameterError, RunError
from cifar_utils.train import Adam, Part, Recipe, deep_loop, numpy_loops, parts
from cifar_utils.train import training as one
from cifar_utils.train.loop import History
from cifar_utils.train.recipe import SGD
from cifar_utils.train.records import write_record
from cifar_utils.train.store import Store
from cifar_utils.train.training import Trained

TOY = Recipe("cifar10", Part("tanh", hidden=2), SGD(0.1), 64, epochs=2, loop="toy", sample=True)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "trainings", tmp_path / "published")


@pytest.fixture
def calls():
    """Register a loop that trains nothing and notes what it was asked for at once."""
    seen = []

    @parts.register("loop", "toy", many=True, varies=("seed", "optimizer.lr"), knows=("clip_norm",), code=())
    def toy(pairs, device, *, checkpoint, progress, weights, steps):
        seen.append([(recipe.optimizer["lr"], seed) for recipe, seed in pairs])
        return [
            Trained(None, History([s, s], [0.0, 0.0], seconds=1.0, outcome="finished"), {"val": {"accuracy": 0.5}},
                    arrays={"w": np.full(3, recipe.optimizer["lr"])}, extra={"norms": [[s, 0.5], [s, float("nan")]]})
            for recipe, s in pairs
        ]  # fmt: skip

    yield seen
    del parts.PARTS["loop"]["toy"]


def test_what_a_loop_can_vary_is_trained_at_once_and_only_what_is_missing(store, calls):
    store.get(TOY.but(optimizer=SGD(0.2)), 1, weights=True)
    pairs = [(TOY.but(optimizer=SGD(lr)), seed) for lr in (0.1, 0.2) for seed in (0, 1)]
    other = (TOY.but(batch=32), 0)
    found = store.get_many([*pairs, other, pairs[0]], weights=True)
    assert calls == [[(0.2, 1)], [(0.1, 0), (0.1, 1), (0.2, 0)], [(0.1, 0)]]
    assert [(t.recipe.optimizer["lr"], t.seed) for t in found[:4]] == [(0.1, 0), (0.1, 1), (0.2, 0), (0.2, 1)]
    assert found[4].recipe.batch == 32 and found[5].record == found[0].record
    again = store.get_many(pairs, weights=True)
    assert len(calls) == 3 and [t.arrays["w"][0] for t in again] == [0.1, 0.1, 0.2, 0.2]


def test_what_a_loop_measured_besides_is_kept_and_cut_with_the_epochs(store, calls):
    store.get(TOY, 3)
    extra = store.find(TOY, 3).extra["norms"]
    assert extra[0] == [3, 0.5] and np.isnan(extra[1][1])
    shorter = store.find(TOY.but(epochs=1, final=(), evaluate=()), 3)
    assert shorter is None or len(shorter.extra["norms"]) == 1
    assert len(store.find(TOY, 3).until(TOY.but(epochs=1)).extra["norms"]) == 1


def test_a_recipe_that_asks_for_what_a_loop_does_not_do_is_refused(store, calls):
    store.get(TOY.but(clip_norm=1.0), 0)
    with pytest.raises(ParameterError, match="loop 'toy' has no augment, which a recipe gives as .flip"):
        store.get(TOY.but(augment=("flip",)), 0)
    with pytest.raises(ParameterError, match="no loop called 'toys'.*Did you mean 'toy'"):
        store.get(TOY.but(loop="toys"), 0)


def test_one_network_goes_through_the_same_door(store):
    recipe = TOY.but(loop="torch", epochs=1)
    several = store.get_many([(recipe, 0), (recipe.but(optimizer=SGD(0.2)), 0)])
    alone = one.train(recipe, 0, torch.device("cpu"))
    assert several[0].history.train_loss == pytest.approx(alone.history.train_loss, rel=1e-6)
    assert several[0].record["key"] != several[1].record["key"]


DIGITS = Recipe(
    "gurmukhi_digits", Part("by hand", hidden=(12, 8), activation="tanh", dropout=0.2, l1=1e-3), Adam(1e-3), 64,
    epochs=2, prepare="-1..1", loop=Part("numpy", watch=True), evaluate=("train:all", "val"), final=("val",),
    sample=True,
)  # fmt: skip
LETTERS = Recipe(
    "ocr_letters", Part("one hidden", hidden=6, init="uniform"), SGD(0.1), 1, epochs=2, loop="one hidden",
    evaluate=("train:all", "val"), final=("train:all", "val"), sample=True,
)  # fmt: skip
DEEP = Recipe(
    "cifar10", Part("deep", activation="tanh", extra=2, widths=(16, 8)), Adam(1e-3), 64, epochs=2, prepare="-1..1",
    loop=Part("deep stack", measured_steps=2), evaluate=("val",), final=("val", "test"), sample=True,
)  # fmt: skip
OTHERS = {
    "numpy": [DIGITS.but(model=DIGITS.model.but(hidden=(5,))), DIGITS.but(epochs=1), DIGITS.but(optimizer=SGD(0.1))],
    "one hidden": [LETTERS.but(model=LETTERS.model.but(hidden=3)), LETTERS.but(batch=32, optimizer=Adam(1e-3))],
    "deep stack": [DEEP.but(model=DEEP.model.but(norm="batch")), DEEP.but(model=DEEP.model.but(activation="relu"))],
}


def flat(values) -> list:
    """Return all numbers in nested lists and dicts, in order."""
    if isinstance(values, dict):
        values = [values[key] for key in sorted(values)]
    return [n for v in values for n in flat(v)] if isinstance(values, list) else [values]


@pytest.mark.parametrize("recipe", [DIGITS, LETTERS, DEEP], ids=list(OTHERS))
def test_a_training_among_others_is_what_it_is_alone_and_is_found_again(store, tmp_path, recipe, monkeypatch):
    among = [(recipe, 1), *((other, seed) for other in OTHERS[recipe.loop.name] for seed in (0, 1))]
    assert len(one.together(among)) == 1
    member = store.get_many(among)[0]
    alone = Store(tmp_path / "alone").get(recipe, 1)
    for what in ("train_loss", "train_accuracy", "step_loss", "evaluations", "iterations"):
        ours, expected = getattr(member.history, what), getattr(alone.history, what)
        assert np.allclose(flat(ours), flat(expected), rtol=1e-4), what
    assert np.allclose(flat(member.extra), flat(alone.extra), rtol=1e-3) and flat(member.extra)
    assert member.accuracy("val") == pytest.approx(100 * member.history.last("val"), abs=1e-4)
    assert len(member.history.step_loss) == min(one.FIRST_STEPS, member.history.iterations)
    monkeypatch.setattr(Store, "_train", lambda *_, **__: pytest.fail("trained a second time"))
    assert store.get(recipe, 1).record == member.record
    assert 0 < member.seconds < 60


@pytest.mark.parametrize("recipe", [DIGITS, LETTERS], ids=["numpy", "one hidden"])
def test_networks_in_numpy_are_kept_where_they_are_needed(store, recipe):
    assert store.get(recipe, 0).state is None  # hundreds of them would fill a disk
    found = store.get(recipe, 0, weights=True)
    network, val = found.model, found.data.val
    inputs = numpy_loops.inputs_of(found.data, recipe.prepare)(val)
    scores = network.scores(inputs) if recipe is LETTERS else network.forward(inputs)
    assert 100 * (scores.argmax(1) == val.y.numpy()).mean() == pytest.approx(found.accuracy("val"))
    assert np.allclose(found.scores("val").numpy(), scores, atol=0.02)
    assert store.get(recipe, 0, weights=True).record == found.record


def test_scores_alone_can_be_asked_for(store, tmp_path):
    done = store.get(LETTERS, 0)
    write_record(store.published / f"{LETTERS.key(0)}.json", done.record)
    clone = Store(tmp_path / "clone", store.published)
    assert clone.get(LETTERS, 0).record == done.record
    with pytest.raises(RunError, match="scores=True"):
        clone.get(LETTERS, 0).scores("val")
    (again,) = clone.get_many([(LETTERS, 0)], scores=True)
    assert torch.equal(again.scores("val"), done.scores("val")) and again.state is None


def test_trainings_that_follow_each_other_go_on_where_the_last_one_ended(store):
    second = DIGITS.but(start=DIGITS, loop=Part("numpy", stream=1), optimizer=SGD(1e-9))
    third = second.but(start=second)
    found = store.get_many([(third, 0), (second, 0), (DIGITS, 0)])
    assert [bool(t.state) for t in found] == [False, True, True]  # others start from these
    assert found[0].loss("val") == pytest.approx(found[2].loss("val"), rel=1e-5)
    kept = store.get(DIGITS.but(start=DIGITS, loop=Part("numpy", memory=True), epochs=1), 0, weights=True)
    assert kept.arrays["steps"] == 3 * found[2].history.iterations / 2


def test_marks_measure_after_so_many_steps_of_batches_drawn_anew(store):
    recipe = DIGITS.but(iterations=7, draw="replacement", loop=Part("numpy", marks=(3, 7)))
    found = store.get(recipe, 0)
    assert found.history.iterations == 7 and len(found.curve("val")) == 2
    with pytest.raises(ParameterError, match="last mark is the number"):
        store.get(recipe.but(loop=Part("numpy", marks=(3, 6))), 0)


def test_random_changes_of_images_are_new_in_every_epoch(store):
    seen: list[float] = []

    @parts.register("augment", "noted")
    def noted(classes):
        def change(x, y, generator):
            seen.append(torch.rand(1, generator=generator).item())
            return x, y

        return change

    plain = store.get(DIGITS, 0)
    changed = store.get(DIGITS.but(augment=("noted",)), 0)
    assert len(set(seen)) == len(seen) == plain.history.iterations
    assert changed.history.train_loss == pytest.approx(plain.history.train_loss)
    del parts.PARTS["augment"]["noted"]


def test_every_other_letter_has_a_loss_of_its_own(store):
    found = store.get(LETTERS, 0)
    even, odd = (np.array(found.extra[name]) for name in numpy_loops.HALVES)
    count = len(found.data.val)
    whole = (even * -(-count // 2) + odd * (count // 2)) / count
    assert whole == pytest.approx(found.curve("val", "loss"), rel=1e-6)


@pytest.mark.parametrize(
    "recipe, module", [(DIGITS, "cifar_utils.scratch.fit"), (DEEP, "cifar_utils.train.deep_stack")]
)
def test_a_long_training_that_was_killed_goes_on(store, tmp_path, monkeypatch, recipe, module):
    recipe, calls, module = recipe.but(epochs=3), [], importlib.import_module(module)
    whole, evaluate = Store(tmp_path / "whole").get(recipe, 0), module.evaluate
    for loop in (numpy_loops, deep_loop):
        monkeypatch.setattr(loop, "LONG", 0)

    def until_killed(*given):
        calls.append(1)
        if len(calls) == 2 * len(recipe.evaluate):
            raise KeyboardInterrupt
        return evaluate(*given)

    monkeypatch.setattr(module, "evaluate", until_killed)
    with pytest.raises(KeyboardInterrupt):
        store.get(recipe, 0)
    before = len(calls)
    resumed = store.get(recipe, 0)
    assert resumed.history.train_loss == pytest.approx(whole.history.train_loss, rel=1e-6)
    assert len(calls) - before == 2 * len(recipe.evaluate) + 1  # two epochs, and the end
    assert not list(store.root.glob("*/state-*"))


def test_other_code_that_begins_alike_is_noted_in_loops_too(store, capsys):
    parts.register("model", "mine")(lambda data, seed: numpy_loops.by_hand(data, seed, (5,)))
    recipe = DIGITS.but(model="mine")
    first = store.get(recipe, 0)
    parts.register("model", "mine")(lambda data, seed, spare=0: numpy_loops.by_hand(data, seed, (5,)))
    assert store.get(recipe, 0).record["started"] == first.record["started"]
    parts.register("model", "mine")(lambda data, seed, spare=1: numpy_loops.by_hand(data, seed, (6,)))
    store.get(recipe, 0)
    assert "stale" in capsys.readouterr().err
    del parts.PARTS["model"]["mine"]


def test_a_training_that_exploded_at_once_is_compared_too(store, capsys):
    recipe = DIGITS.but(optimizer=SGD(1e30), model=DIGITS.model.but(activation="relu"))
    first = store.get(recipe, 0)
    assert first.history.outcome == "diverged" and not np.isfinite(first.history.step_loss).all()
    assert store.verify(first)
    assert not capsys.readouterr().err


def test_batches_in_a_fixed_order_are_the_same_in_every_epoch(store):
    fixed = DIGITS.but(draw=Part("passes", shuffle=False), optimizer=SGD(1e-12), model=DIGITS.model.but(dropout=0.0))
    losses = store.get(fixed.but(batch=500), 0).history.step_loss  # weights stand still, so that losses tell batches
    half = len(losses) // 2
    assert half > 1 and losses[:half] == pytest.approx(losses[half:], rel=1e-6)
    shuffled = store.get(fixed.but(batch=500, draw="passes"), 0).history.step_loss
    assert shuffled[0] != pytest.approx(shuffled[half], rel=1e-6)


MLP = Recipe(
    "mnist", Part("MLPClassifier", hidden=(8,), activation="tanh", alpha=0.1), Part("L-BFGS"), epochs=5,
    loop="scikit-learn", evaluate=(), final=("test",), sample=True,
)  # fmt: skip


def test_a_network_of_scikit_learn_is_in_the_store_as_it_is_when_fitted_by_itself(store):
    found = store.get_many([(MLP, 3)], scores=True)[0]
    inputs = lambda split: split.x.flatten(1).numpy() / np.float32(255)  # noqa: E731
    x, y = inputs(found.data.train), found.data.train.y.numpy()
    alone = MLPClassifier((8,), activation="tanh", solver="lbfgs", alpha=0.1, random_state=3, max_iter=5)
    with pytest.warns(ConvergenceWarning):
        alone.fit(x, y)
    test, labels = inputs(found.data.test), found.data.test.y.numpy()
    assert found.accuracy("test") == pytest.approx(100 * alone.score(test, labels))
    assert (found.scores("test").argmax(1).numpy() == alone.predict(test)).mean() > 0.99  # of 16 bits
    assert found.loss("test") == pytest.approx(log_loss(labels, alone.predict_proba(test)), rel=1e-5)
    assert found.history.train_loss == pytest.approx([alone.loss_]) and found.history.iterations == alone.n_iter_
    assert store.verify(found)


def test_scikit_learn_is_asked_for_what_it_has_and_may_explode(store):
    with pytest.raises(ParameterError, match="L-BFGS"):
        store.get(MLP.but(optimizer="RMSprop"), 0)
    exploded = store.get(MLP.but(optimizer=SGD(1e30), model=MLP.model.but(activation="linear")), 0)
    assert exploded.history.outcome == "diverged" and np.isnan(exploded.accuracy("test"))
