from __future__ import annotations

import json

import pytest
from conftest import PARAMETERS, notebook

from cifar_utils.errors import ParameterError
from reproduce import params
from reproduce.params import Parameter, check, declared, for_profile, from_command_line, notebook_path, parse


def test_parse_reads_name_type_default_and_help():
    found = parse(PARAMETERS)
    assert list(found) == ["profile", "data", "device", "seeds", "lr", "rates", "augment", "limit"]
    assert (found["lr"].type, found["lr"].default, found["lr"].help) == ("float", 0.1, "step size")
    assert (found["limit"].type, found["limit"].default, found["limit"].help) == ("int | None", None, "most images")
    assert found["rates"].default == [0.1, 0.2] and found["augment"].help == ""


def test_parse_of_a_default_over_lines_and_of_letters_beyond_ascii():
    found = parse(
        '# a comment\nrates: list[float] = [\n    0.1,  # not this\n]  # grid\nname: str = "é#ß"  # ε, a # too'
    )
    assert found["rates"].help == "grid"
    assert found["name"].default == "é#ß" and found["name"].help == "ε, a # too"


@pytest.mark.parametrize(
    ("line", "number"),
    [("lr = 0.1", 2), ("lr: float", 2), ("import os", 2), ("lr: float = 1 / 3", 2), ("lr: float = max(1, 2)", 2),
     ("lr: float = = 1", 2), ('"""words"""', 2)],
)  # fmt: skip
def test_parse_refuses_anything_else(line, number):
    with pytest.raises(
        ParameterError, match=f"x: line {number} of the parameters cell is not 'name: type = default'"
    ):
        parse(f"seeds: int = 1\n{line}", "x")


@pytest.mark.parametrize("line", ["lr: float = 'fast'", "n: int = 1.5", "lr: complex = 1", "flag: bool = 1"])
def test_parse_refuses_a_default_of_another_type(line):
    with pytest.raises(ParameterError):
        parse(line)


@pytest.mark.parametrize(
    ("kind", "given", "expected"),
    [
        ("float", "1e-3", 0.001), ("float", 2, 2.0), ("float", "2", 2.0), ("int", "3", 3), ("int", 3, 3),
        ("str", "x", "x"), ("bool", True, True), ("bool", "false", False), ("bool", "True", True),
        ("list[float]", ["1e-3", 1], [0.001, 1.0]), ("list[int]", [1, "2"], [1, 2]), ("list[str]", [], []),
        ("int | None", None, None), ("int | None", "None", None), ("int | None", "4", 4),
        ("list[int] | None", [1], [1]), ("list[int] | None", None, None), ("list[float]", (1, 2), [1.0, 2.0]),
    ],
)  # fmt: skip
def test_conversions(kind, given, expected):
    found = Parameter("p", kind, None).check(given)
    assert found == expected and type(found) is type(expected)
    if isinstance(expected, list):
        assert [type(v) for v in found] == [type(v) for v in expected]


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        ("float", "fast"), ("float", None), ("float", True), ("float", [1.0]), ("int", 1.0), ("int", "1e3"),
        ("int", True), ("int", "1.5"), ("int", None), ("str", 1), ("str", None), ("bool", 1), ("bool", "yes"),
        ("bool", "maybe"), ("bool", None), ("list[int]", 3), ("list[int]", "[1, 2]"), ("list[int]", [1, "x"]),
        ("list[int]", None), ("int | None", "x"), ("float", {"a": 1}),
    ],
)  # fmt: skip
def test_what_cannot_be_the_type_is_refused(kind, given):
    with pytest.raises(ParameterError, match="Parameter p is .*expected .*such as 7"):
        Parameter("p", kind, 7).check(given)


def test_unknown_names_are_refused_with_a_suggestion():
    allowed = parse(PARAMETERS)
    with pytest.raises(
        ParameterError, match="no parameter 'sead'. Did you mean 'seeds'. Expected one of profile, data"
    ):
        check({"sead": 3}, allowed)
    with pytest.raises(ParameterError, match="no parameter 'zzz'. Expected one of"):
        check({"zzz": 3}, allowed)
    assert check({"lr": "1e-3", "seeds": 2}, allowed) == {"lr": 0.001, "seeds": 2}


def test_command_line_pairs():
    pairs = ["lr=1e-3", "seeds=3", "rates=[1e-3, 0.1]", "augment=true", "limit=null", "name=a=b"]
    assert from_command_line(pairs) == {
        "lr": "1e-3", "seeds": 3, "rates": ["1e-3", 0.1], "augment": True, "limit": None, "name": "a=b",
    }  # fmt: skip
    with pytest.raises(ParameterError, match="-p seeds is not name=value"):
        from_command_line(["seeds"])
    with pytest.raises(ParameterError, match=r"-p rates=\[1, is not YAML"):
        from_command_line(["rates=[1,"])


# ---- a project's notebooks and profiles --------------------------------------------------------


def test_declared_and_notebook_path(project):
    assert declared("a1_q1_test")["lr"].default == 0.1
    with pytest.raises(ParameterError, match="no notebook 'a1_q1_tset'. Did you mean 'a1_q1_test'"):
        notebook_path("a1_q1_tset")
    empty = notebook("x: int = 1")
    empty["cells"][0]["metadata"] = {}
    (project / "notebooks" / "untagged.ipynb").write_text(json.dumps(empty))
    with pytest.raises(ParameterError, match="untagged has no cell tagged 'parameters'"):
        declared("untagged")


def test_profiles(project):
    assert for_profile("a1_q1_test", "smoke") == {}
    assert for_profile("a1_q1_test", "quick") == {"profile": "quick", "data": "real", "lr": 0.001}
    assert for_profile("a1_q1_test", "quick", {"lr": "1e-2", "seeds": 3})["lr"] == 0.01
    with pytest.raises(
        ParameterError, match="no profile 'quik'. Did you mean 'quick'. Expected one of smoke, quick, full"
    ):
        for_profile("a1_q1_test", "quik")
    with pytest.raises(ParameterError, match="needs params/full/a1_q1_test.yml; there is none"):
        for_profile("a1_q1_test", "full")
    with pytest.raises(ParameterError, match="no parameter 'epochs'"):
        for_profile("a1_q1_test", "quick", {"epochs": 3})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lrr: 1\n", "no parameter 'lrr'. Did you mean 'lr'"),
        ("seeds: three\n", "Parameter seeds is 'three'"),
        ("- lr\n", "must hold 'name: value' lines"),
        ("lr: [1\n", "params/quick/a1_q1_test.yml is not YAML"),
    ],
)
def test_malformed_params_files(project, text, message):
    (project / "params" / "quick" / "a1_q1_test.yml").write_text(text)
    with pytest.raises(ParameterError, match=message):
        for_profile("a1_q1_test", "quick")


def test_an_empty_params_file_changes_nothing(project):
    (project / "params" / "quick" / "a1_q1_test.yml").write_text("# nothing\n")
    assert for_profile("a1_q1_test", "quick") == {}


def test_the_real_profiles_fit_their_notebooks():
    from cifar_utils.paths import root

    files = sorted(root().glob("params/*/*.yml"))
    assert {p.parent.name for p in files} <= set(params.PROFILES) - {"smoke"}
    for path in files:
        assert for_profile(path.stem, path.parent.name).get("profile", path.parent.name) == path.parent.name
    assert {p.stem for p in files} <= {p.stem for p in root().glob("notebooks/*.ipynb")}
