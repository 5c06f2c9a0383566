"""The table of a chapter's recipes: what all arms share is said once, and a row has what is its own."""

from cifar_utils.train import SGD, Adam, Part, Recipe
from reproduce.recipes import readable, shared

BASE = Recipe("cifar10", Part("rdfia on windows", side=28), SGD(0.1), epochs=30, batch=128)


def test_options_that_all_arms_share_are_said_once():
    model = BASE.model
    common, own = shared([BASE, BASE.but(model=model.but(dropout=0.5)), BASE.but(model=model.but(batch_norm=True))])
    assert common["model"] == "rdfia on windows (side 28)" and common["optimizer"] == "SGD (lr 0.1)"
    assert [each["model"] for each in own] == ["—", "dropout 0.5", "batch_norm yes"]


def test_other_parts_are_told_whole():
    common, own = shared([BASE, BASE.but(optimizer=Adam(1e-3)), BASE.but(model="softmax", augment=("flip",))])
    assert {"model", "optimizer", "augment"}.isdisjoint(common)
    assert [each["optimizer"] for each in own] == ["SGD (lr 0.1)", "Adam (lr 0.001)", "SGD (lr 0.1)"]
    assert own[2]["model"] == "softmax" and own[0]["augment"] == "none"


def test_what_is_not_said_where_all_have_it_is_said_beside_another():
    common, own = shared([BASE, BASE.but(loss=Part("cross-entropy", smoothing=0.2), draw=Part("alternating"))])
    assert {"loss", "draw"}.isdisjoint(common)
    assert own[0] == {"loss": "cross-entropy", "draw": "passes"}
    assert own[1] == {"loss": "cross-entropy (smoothing 0.2)", "draw": "alternating"}


def test_a_recipe_alone_has_nothing_of_its_own():
    assert shared([BASE])[1] == [{}]


def test_rates_of_a_grid_are_told_in_three_digits():
    assert readable("SGD (lr 0.0225936), lr 9.48683") == "SGD (lr 0.0226), lr 9.49"
    assert readable("lr 0.0005; crop 4; noise 0.25, lr 0.1234") == "lr 0.0005; crop 4; noise 0.25, lr 0.1234"
