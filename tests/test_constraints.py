"""Values of the right type and no sense are refused before anything runs, in one sentence."""

from __future__ import annotations

import math

import pytest

from cifar_utils.errors import ParameterError
from cifar_utils.paths import chapters
from reproduce import params
from reproduce.__main__ import main
from reproduce.params import check, for_profile, parse

NAMES = chapters()


def cell(constraint: str, kind: str = "int", default: object = 4) -> str:
    """Return a parameters cell whose parameter `p` has a constraint; `q` and `few` are there to be spoken of."""
    comment = f"  # words [{constraint}]" if constraint else "  # words"
    return f"q: int = 4\nfew: list[int] = [2, 4]\np: {kind} = {default!r}{comment}"


@pytest.mark.parametrize(
    ("constraint", "kind", "good", "bad"),
    [
        ("", "int", [1, 9], [0, -1]), ("", "float", [0.1], [0.0, -0.1, math.nan, math.inf]),
        ("", "str", ["x"], [""]), ("", "bool", [True, False], []),
        ("", "list[int]", [[1], [3, 2]], [[], [0], [1, 1]]),
        ("", "list[float]", [[0.5]], [[], [math.nan], [0.0], [1, 1]]),
        ("", "list[str]", [["a"]], [[], ["a", "a"]]), ("", "int | None", [None, 1], [0]),
        ("may repeat", "list[int]", [[2, 2]], [[], [0]]),
        ("at least 0", "int", [0, 1], [-1]), ("at least 10, multiple of 10", "int", [10, 20], [0, 5, 15]),
        ("multiple of q", "int", [4, 8], [0, 5]), ("more than 2 * q - 1", "int", [8], [7]),
        ("at most q", "int", [1, 4], [0, 5]), ("less than 1", "float", [0.5], [1.0, 0.0, math.nan]),
        ("at most (q + 2) / 4", "float", [1.5], [1.6]), ("at least max(few)", "int", [4], [3]),
        ("more than min(few)", "int", [3], [2]), ("at least 0, at most 1", "float", [0.0, 1.0], [-0.1, 1.1]),
        ("0 or at least q + 1", "int", [0, 5], [4, -1]),
        ("one of a, b c", "str", ["a", "b c"], ["c", ""]), ("one of 8, 16", "int", [8], [0, 9]),
        ("one of he, N", "str", ["he", "0.1", "1e-3"], ["-1", "x", "he1", "nan"]),
        ("one of adam N N, sgd N N", "str", ["adam 0.1 255"], ["adam", "adam x 1"]),
        ("each at least 0, each less than 1", "list[float]", [[0.0, 0.5]], [[1.0], [-0.1], []]),
        ("at least 2 values, each one of 5, 20", "list[int]", [[5, 20]], [[5], [5, 6]]),
        ("some less than 64", "list[int]", [[4], [4, 99]], [[64]]),
        ("holds 0, each at least 0", "list[float]", [[0.0, 1.0]], [[1.0]]),
        ("holds q", "list[int]", [[4]], [[3]]), ("holds few", "list[int]", [[4, 2]], [[4]]),
        ("ascending", "list[int]", [[1], [1, 2]], [[2, 1]]),
        ("one is max(few) / min(few) times another", "list[float]", [[0.1, 0.2], [4, 3, 2]], [[0.1], [0.1, 0.3]]),
    ],
)  # fmt: skip
def test_a_constraint_lets_sense_pass_and_nothing_else(constraint, kind, good, bad):
    allowed = parse(cell(constraint, kind, good[0]))
    for value in good:
        assert check({"p": value}, allowed) == {"p": value}
    for value in bad:
        with pytest.raises(ParameterError, match=r"^Parameter p is .*; expected [^;]*\.$"):
            check({"p": value}, allowed)


def test_the_sentence_names_the_rule_and_the_values_that_it_speaks_of():
    allowed = parse("epochs: int = 5  # passes\nfirst: int = 2  # of them [at most epochs]")
    with pytest.raises(ParameterError, match=r"^Parameter first is 9; expected at most epochs \(epochs is 5\)\.$"):
        check({"first": 9}, allowed)
    with pytest.raises(ParameterError, match=r"^Parameter first is 2; expected at most epochs \(epochs is 1\)\.$"):
        check({"epochs": 1}, allowed)  # a default that no longer goes with what is given
    assert check({"epochs": 1, "first": 1}, allowed) == {"epochs": 1, "first": 1}
    assert allowed["first"].help == "of them"


@pytest.mark.parametrize(
    ("constraint", "kind"),
    [
        ("at leest 1", "int"), ("at least", "int"), ("at least 1,at most 2", "int"), ("at least 1, ", "int"),
        ("holds 1", "int"), ("each at least 1", "int"), ("at least 1", "list[int]"), ("multiple of 2", "float"),
        ("at least 1", "str"), ("at least q.real", "int"), ("at least print(1)", "int"), ("0 to 1", "float"),
        ("at least (1", "int"),
    ],
)  # fmt: skip
def test_a_malformed_constraint_names_its_line(constraint, kind):
    with pytest.raises(
        ParameterError, match=r"x: line 3 of the parameters cell has a constraint.*not understood: \["
    ):
        parse(cell(constraint, kind, {"int": 4, "float": 4.0, "str": "a", "list[int]": [4]}[kind]), "x")


def test_a_constraint_that_speaks_of_no_parameter_and_a_default_that_breaks_one_are_refused():
    with pytest.raises(ParameterError, match="x: the constraint of p names epochs, which is no parameter"):
        parse(cell("at most epochs"), "x")
    with pytest.raises(ParameterError, match="Parameter p is 4; expected at most 3"):
        parse(cell("at most 3"), "x")


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda", "cuda:1", "mps"])
def test_every_device_may_be_asked_for(device):
    assert check({"device": device}, parse('device: str = "auto"  # where')) == {"device": device}


# ---- the notebooks -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_no_parameter_of_a_notebook_can_be_nonsense(name):
    allowed = params.declared(name)
    nonsense = {"int": [-1], "float": [-1.0, math.nan, math.inf], "str": [""], "bool": []}
    for key, parameter in allowed.items():
        kind = parameter.type
        values = [[], *([v] for v in nonsense[kind[5:-1]])] if kind.startswith("list[") else nonsense[kind]
        for value in values:
            with pytest.raises(ParameterError, match=f"Parameter {key} is "):
                check({key: value}, allowed)


@pytest.mark.parametrize(
    ("name", "overrides", "message"),
    [
        ("a1_q1_softmax_regression", {"eval_every": 0}, "eval_every is 0; expected at least 1"),
        ("a1_q1_softmax_regression", {"batch_size": 0}, "batch_size is 0; expected more than 16"),
        ("a1_q1_softmax_regression", {"iterations": 0}, "iterations is 0; expected at least 10"),
        ("a1_q1_softmax_regression", {"iterations": 5}, "iterations is 5; expected at least 10"),
        ("a1_q1_softmax_regression", {"l2_values": []}, r"l2_values is \[\]; expected a list that is not empty"),
        ("a1_q1_softmax_regression", {"l2_values": [0.0, 1.0]}, r"expected holds l2 \(l2 is 0.1\)"),
        ("a1_q1_softmax_regression", {"search_lrs": []}, "search_lrs"),
        ("a1_q1_softmax_regression", {"clip": 0}, "clip is 0.0; expected more than 0"),
        ("a1_q1_softmax_regression", {"seeds": -1}, "seeds is -1; expected at least 1"),
        ("a1_q1_softmax_regression", {"device": "meta"}, "device is 'meta'; expected one of auto, cpu, cuda, cuda:N"),
        ("a1_q2_3_tsne", {"images": 7}, "images is 7; expected at least 50"),
        ("rdfia_ab_circles", {"hidden": 12}, r"search_hidden is .* holds hidden \(hidden is 12\)"),
        ("rdfia_cd_q13_baseline_cnn", {"grid_lrs": [0.1]}, r"grid_lrs is \[0.1\]; expected at least 2"),
        ("rdfia_cd_q29_dropout_batchnorm", {"ablate": ["decays"]}, "ablate is .*; expected each one of stan"),
    ],
)  # fmt: skip
def test_what_people_typed_is_refused_before_a_kernel_starts(name, overrides, message):
    with pytest.raises(ParameterError, match=message):
        for_profile(name, "smoke", overrides)


def test_the_command_line_says_it_in_one_line_and_the_list_shows_the_constraints(capsys):
    assert main(["run", "a1_q1_softmax_regression", "-p", "eval_every=0"]) == 2
    assert capsys.readouterr().err == "Parameter eval_every is 0; expected at least 1.\n"
    assert main(["list"]) == 0
    text = capsys.readouterr().out
    assert "[at least 10, multiple of eval_every]" in text and "eval_every: int = " in text
    assert "a list that is not empty" not in text  # goes without saying
