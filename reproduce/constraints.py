"""Which values of a parameter make sense, as its comment says at its end in brackets: `# passes [at most epochs]`::

    [RULE, RULE, ...]                     all must hold
    at least X | more than X | at most X | less than X | multiple of X
                                          about a number, the last about a whole one
    0 or RULE                             0 has a meaning of its own, such as "all"
    one of WORD, WORD, ...                takes the rest of the text; a capital N stands for a number
    each RULE | some RULE                 about the values of a list
    at least N values | ascending         about the list as a whole
    holds X                               X is one of its values, or a list all of whose values are
    one is X times another                about two of its values
    may repeat                            takes back that it does not

X is a number, another parameter, or arithmetic of both: `neighbours + 1`, `max(words)`, `(images - 1) / 3`.

What goes without saying, by type: numbers are finite, whole ones at least 1 and others more than 0 (where no rule
gives a lower bound), a list has a value and none twice, a text is not empty. `BY_NAME` holds for all notebooks.
"""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise, permutations
from typing import Any

#: The constraints of parameters that mean the same in every notebook.
BY_NAME = {
    "profile": "one of smoke, quick, full",
    "data": "one of sample, real",
    "device": "one of auto, cpu, cuda, cuda:N, mps",
}

_BOUNDS = {"at least": operator.ge, "more than": operator.gt, "at most": operator.le, "less than": operator.lt}
_RULE = r"(?:(?:each |some |0 or )*one of .+|[^,\s][^,]*)"  # the commas behind "one of" separate no rules
_NUMBER = r"(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?"
_ARITHMETIC = (ast.Expression, ast.BinOp, ast.UnaryOp, ast.USub, ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv,
               ast.Constant, ast.Name, ast.Load, ast.Call)  # fmt: skip
_FUNCTIONS = {"max": max, "min": min}

Test = Callable[[Any, dict], bool]


@dataclass(frozen=True)
class Rule:
    """One rule: its words, which other parameters it speaks of, and whether a value keeps it among all values."""

    text: str
    names: tuple[str, ...]
    holds: Test


def shown(rules: tuple[Rule, ...]) -> str:
    """Return the rules as a reader needs them: in brackets, without what every list, text or fraction must be."""
    texts = [rule.text for rule in rules if not re.match(r"(each )?a ", rule.text)]
    return f"[{', '.join(texts)}]" if texts else ""


def split(comment: str) -> tuple[str, str]:
    """Return a comment without its constraint, and the constraint without its brackets."""
    found = re.fullmatch(r"(.*?)\s*\[([^\[\]]*)\]", comment)
    return (found[1], found[2]) if found else (comment, "")


def parse(constraint: str, name: str, kind: str) -> tuple[Rule, ...]:
    """Return the rules of a parameter, first those that go without saying.

    Args:
        constraint: the text, without brackets.
        name: of the parameter.
        kind: its type, such as `list[int]`.

    Raises:
        ValueError: a rule that is not understood, or does not go with the type.
    """
    kind = kind.removesuffix("| None").strip()
    text = constraint or BY_NAME.get(name, "")
    if text and not re.fullmatch(f"{_RULE}(, {_RULE})*", text):
        raise ValueError(text)
    said = re.findall(_RULE + "(?=, |$)", text)
    return tuple(_rule(each, kind) for each in [*_unsaid(kind, said), *said] if each != "may repeat")


def _unsaid(kind: str, said: list[str]) -> list[str]:
    each, item = ("each ", kind[5:-1]) if kind.startswith("list[") else ("", kind)
    rules = ["a list that is not empty"] if each else ["a text that is not empty"] if item == "str" else []
    if item == "float":
        rules.append(f"{each}a finite number")
    bounded = re.compile(rf"{each}(at least (?!\d+ values)|more than|0 or|one of)")
    if item in ("int", "float") and not any(map(bounded.match, said)):
        rules.append(each + {"int": "at least 1", "float": "more than 0"}[item])
    return rules + (["a list with no value twice"] if each and "may repeat" not in said else [])


def _rule(text: str, kind: str) -> Rule:
    names: dict[str, None] = {}  # a set in the order of appearance
    test = _test(text, kind, names)
    return Rule(text, tuple(names), test)


def _test(text: str, kind: str, names: dict) -> Test:
    """Return what decides whether a value of type `kind`, among all values, keeps a rule; note the names in it."""
    item = kind[5:-1] if kind.startswith("list[") else ""
    if item:
        if found := re.fullmatch(r"(each|some) (.+)", text):
            quantifier, test = {"each": all, "some": any}[found[1]], _test(found[2], item, names)
            return lambda value, known: quantifier(test(v, known) for v in value)
        if found := re.fullmatch(r"at least (\d+) values", text):
            return lambda value, _: len(value) >= int(found[1])
        if text == "a list that is not empty":
            return lambda value, _: len(value) > 0
        if text == "a list with no value twice":
            return lambda value, _: len(set(value)) == len(value)
        if text == "ascending":
            return lambda value, _: all(a < b for a, b in pairwise(value))
        if found := re.fullmatch(r"holds (.+)", text):
            wanted = _value(found[1], names)
            listed = lambda x: x if isinstance(x, list) else [x]  # noqa: E731
            return lambda value, known: set(listed(wanted(known))) <= set(value)
        if found := re.fullmatch(r"one is (.+) times another", text):
            factor = _value(found[1], names)
            return lambda value, known: any(math.isclose(a, factor(known) * b) for a, b in permutations(value, 2))
    if text.startswith("one of "):
        words = [re.escape(word).replace("N", _NUMBER) for word in text.removeprefix("one of ").split(", ")]
        return lambda value, _: re.fullmatch("|".join(words), str(value)) is not None
    if kind == "str" and text == "a text that is not empty":
        return lambda value, _: value != ""
    if kind in ("int", "float"):
        if text == "a finite number":
            return lambda value, _: math.isfinite(value)
        if found := re.fullmatch(rf"({'|'.join(_BOUNDS)}) (.+)", text):
            compare, bound = _BOUNDS[found[1]], _value(found[2], names)
            return lambda value, known: compare(value, bound(known))
        if kind == "int" and (found := re.fullmatch(r"multiple of (.+)", text)):
            unit = _value(found[1], names)
            return lambda value, known: value % unit(known) == 0
        if text.startswith("0 or "):
            test = _test(text.removeprefix("0 or "), kind, names)
            return lambda value, known: value == 0 or test(value, known)
    raise ValueError(text)


def _value(text: str, names: dict) -> Callable[[dict], Any]:
    """Return the function of all values that an X stands for."""
    tree = ast.parse(text, mode="eval")
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id not in _FUNCTIONS:
            names[node.id] = None
        called = ast.unparse(node.func) if isinstance(node, ast.Call) else "max"
        if not isinstance(node, _ARITHMETIC) or called not in _FUNCTIONS:
            raise ValueError(text)
    code = compile(tree, "a constraint", "eval")
    return lambda known: eval(code, {"__builtins__": {}, **_FUNCTIONS}, known)  # of nodes in _ARITHMETIC alone
