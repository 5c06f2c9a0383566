"""Loops beside PyTorch's: many trainings at once are what each would be alone, and are found again one by one."""

import numpy as np
import pytest
import torch

from cifar_utils.errors import ParameterError
from cifar_utils.train import Part, Recipe, parts
from cifar_utils.train import training as one
from cifar_utils.train.loop import History
from cifar_utils.train.recipe import SGD
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
