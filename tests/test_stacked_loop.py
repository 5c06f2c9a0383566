"""The loop `stacked`: networks of a store that were trained at once are what each would have been alone."""

import pytest
import torch
from torch import nn

from cifar_utils.errors import ParameterError
from cifar_utils.train import SGD, Part, Recipe, parts
from cifar_utils.train import training as one
from cifar_utils.train.store import Store

RECIPE = Recipe("circles", Part("tanh", hidden=3), SGD(0.3), 10, epochs=2, loop="stacked", final=("test",),
                evaluate=("train", "test"), precision="float32", sample=True)  # fmt: skip
DIGITS = RECIPE.but(data="mnist", prepare="channels", images=100, epochs=1, evaluate=("val",), final=("val:50",))


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "trainings", tmp_path / "published")


def close(found, wanted):
    return torch.testing.assert_close(torch.tensor(found), torch.tensor(wanted), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("recipe", [RECIPE, DIGITS, DIGITS.but(prepare="scale")])
def test_a_member_of_a_stack_is_what_it_would_be_alone(store, recipe):
    pairs = [(recipe.but(optimizer=SGD(lr, weight_decay=d)), s) for lr, d, s in ((0.3, 0.0, 0), (0.1, 0.1, 1))]
    for (own, seed), found in zip(pairs, store.get_many(pairs, weights=True), strict=True):
        alone = one.train(own.but(loop="torch"), seed, torch.device("cpu"))
        close(found.history.train_loss, alone.history.train_loss)
        close(found.history.step_loss, alone.history.step_loss)
        for which, curves in alone.history.evaluations.items():
            close(found.curve(which, "loss"), curves["loss"])
        (which,) = alone.final
        close(found.loss(which), alone.final[which]["loss"])
        close(found.accuracy(which), 100 * alone.final[which]["accuracy"])
        torch.testing.assert_close(found.scores(which), alone.scores[which], rtol=1e-2, atol=1e-2)
        for name, values in alone.model.state_dict().items():
            torch.testing.assert_close(found.model.state_dict()[name], values, rtol=1e-3, atol=1e-5)


def test_how_many_were_trained_at_once_changes_nothing_also_where_they_share_their_batches(store, tmp_path):
    for recipe in (RECIPE, RECIPE.but(loop=Part("stacked", order="shared"))):
        at_once = store.get_many([(recipe, seed) for seed in range(4)])
        alone = Store(tmp_path / "other").get(recipe, 3)
        close(at_once[3].history.train_loss, alone.history.train_loss)
        assert at_once[3].seconds < sum(training.seconds for training in at_once)


def test_a_stack_goes_on_from_another_one(store):
    slow = RECIPE.but(optimizer=SGD(0.001))
    on = RECIPE.but(start=slow)
    found, fresh = store.get(on, 1), store.get(RECIPE, 1)
    alone = one.train(on.but(loop="torch"), 1, torch.device("cpu"), weights=store._with_weights)
    close(found.history.train_loss, alone.history.train_loss)
    assert found.history.step_loss[0] != pytest.approx(fresh.history.step_loss[0], rel=1e-4)


def test_todays_code_is_compared_by_the_first_steps(store):
    training = store.get(RECIPE.but(batch=200), 0)  # one step an epoch
    assert len(training.history.step_loss) == 2
    assert store.verify(store.get(RECIPE, 0)) and store.verify(training)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loop": Part("stacked", order="own seed")}, "order of a stack is 'own seed'"),
        ({"optimizer": Part("Adam", lr=0.1)}, "trained by SGD"),
        ({"optimizer": SGD(0.1, nesterov=True)}, "trained by SGD"),
        ({"clip_norm": 1.0}, "has no clip_norm"),
        ({"model": "dropped"}, "train this one with loop 'torch'"),
    ],
)
def test_what_a_stack_does_not_do_is_refused(store, changes, message):
    parts.register("model", "dropped")(lambda data: nn.Sequential(nn.Linear(2, 4), nn.Dropout(0.5), nn.Linear(4, 2)))
    try:
        with pytest.raises(ParameterError, match=message):
            store.get(RECIPE.but(**changes), 0)
    finally:
        del parts.PARTS["model"]["dropped"]
