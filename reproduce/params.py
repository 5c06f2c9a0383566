"""A notebook's parameters: what it declares, and values checked by name, type and sense against that.

A line of the parameters cell is `name: type = default  # what it is [constraint]`; `reproduce.constraints` says
how a constraint is written, and what holds without one. papermill itself only warns about a name that the notebook
does not have, and hands `lr: 1e-3` from YAML over as text.
"""

from __future__ import annotations

import ast
import difflib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NoReturn

import yaml

from cifar_utils.errors import ParameterError
from cifar_utils.paths import notebook_path, root

from . import constraints

PROFILES = ("smoke", "quick", "full")


@dataclass(frozen=True)
class Parameter:
    """One line `name: type = default  # help [constraint]` of a parameters cell."""

    name: str
    type: str
    default: object
    help: str = ""
    rules: tuple[constraints.Rule, ...] = ()

    def check(self, value: object) -> object:
        """Return `value` as the declared type.

        Raises:
            ParameterError: it cannot be that type without a guess.
        """
        try:
            return _convert(value, self.type)
        except (TypeError, ValueError):
            raise ParameterError(
                f"Parameter {self.name} is {value!r} ({type(value).__name__}); expected {self.type}, "
                f"such as {self.default!r}."
            ) from None


def _convert(value: object, kind: str) -> object:
    if kind.endswith("| None"):
        if value is None or value == "None":
            return None
        return _convert(value, kind.removesuffix("| None").strip())
    if kind.startswith("list["):
        if not isinstance(value, (list, tuple)):
            raise TypeError
        return [_convert(v, kind[5:-1]) for v in value]
    if kind == "bool":
        if isinstance(value, bool):
            return value
        words = {"true": True, "false": False}
        return words[value.lower()] if isinstance(value, str) and value.lower() in words else _fail()
    if isinstance(value, bool):
        raise TypeError
    if kind == "int":
        return value if isinstance(value, int) else int(value) if isinstance(value, str) else _fail()
    if kind == "float":
        return float(value) if isinstance(value, (int, float, str)) else _fail()
    if kind == "str":
        return value if isinstance(value, str) else _fail()
    raise ParameterError(f"Declared type {kind!r} is unknown; expected int, float, str, bool, list[...] or "
                         "one of these with '| None'.")  # fmt: skip


def _fail() -> NoReturn:
    raise TypeError


def declared(name: str) -> dict[str, Parameter]:
    """Return the parameters that notebook `name` declares, in order.

    Raises:
        ParameterError: no such notebook, no cell tagged `parameters`, or a line in it that is not
            `name: type = default`.
    """
    notebook = json.loads(notebook_path(name).read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        if "parameters" in cell["metadata"].get("tags", []):
            return parse("".join(cell["source"]), name)
    raise ParameterError(f"Notebook {name} has no cell tagged 'parameters'.")


def parse(source: str, name: str = "notebook") -> dict[str, Parameter]:
    """Return the parameters that the text of a parameters cell declares."""

    def refuse(line: int | None, what: str = "is not 'name: type = default'") -> NoReturn:
        raise ParameterError(f"{name}: line {line} of the parameters cell {what}.") from None

    lines = source.splitlines()
    found = {}
    try:
        nodes = ast.parse(source).body
    except SyntaxError as error:
        refuse(error.lineno)
    for node in nodes:
        if not (isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value):
            refuse(node.lineno)
        try:
            default = ast.literal_eval(node.value)
        except ValueError:
            refuse(node.lineno)
        end = node.end_lineno or node.lineno
        rest = lines[end - 1].encode()[node.end_col_offset :].decode()  # the offset counts bytes
        comment, constraint = constraints.split(rest.partition("#")[2].strip())
        word, kind = node.target.id, ast.unparse(node.annotation)
        try:
            parameter = Parameter(word, kind, default, comment, constraints.parse(constraint, word, kind))
        except (ValueError, SyntaxError):
            refuse(end, f"has a constraint that is not understood: [{constraint}]")
        parameter.check(parameter.default)
        found[word] = parameter
    defaults = {key: p.default for key, p in found.items()}
    for p in found.values():
        if strangers := [n for rule in p.rules for n in rule.names if n not in found]:
            raise ParameterError(f"{name}: the constraint of {p.name} names {strangers[0]}, which is no parameter.")
    _check_sense(defaults, found)
    return found


def _check_sense(values: dict, allowed: dict[str, Parameter]) -> None:
    """Check all values, of their declared types, against the constraints: each by itself, then the relations."""
    rules = [(p.name, rule) for p in allowed.values() for rule in p.rules if values[p.name] is not None]
    for name, rule in sorted(rules, key=lambda pair: bool(pair[1].names)):
        if not rule.holds(values[name], values):
            given = f" ({', '.join(f'{other} is {values[other]!r}' for other in rule.names)})" if rule.names else ""
            raise ParameterError(f"Parameter {name} is {values[name]!r}; expected {rule.text}{given}.")


def known(names: Iterable[str], allowed: dict[str, Parameter]) -> None:
    """Refuse names that are not declared.

    Raises:
        ParameterError: the first of them, with a suggestion.
    """
    for key in names:
        if key not in allowed:
            raise ParameterError(f"There is no parameter {key!r}.{_suggest(key, list(allowed))}")


def check(values: dict, allowed: dict[str, Parameter]) -> dict:
    """Return `values` with every value converted to its declared type; what they leave out is at its default.

    Raises:
        ParameterError: an unknown name, or a value of another type or without sense.
    """
    known(values, allowed)
    converted = {key: allowed[key].check(value) for key, value in values.items()}
    _check_sense({key: p.default for key, p in allowed.items()} | converted, allowed)
    return converted


def for_profile(name: str, profile: str, overrides: dict | None = None) -> dict:
    """Return the values that profile and overrides set for notebook `name`, checked.

    `smoke` is what the notebook's own defaults say; `quick` and `full` read
    `params/PROFILE/NAME.yml`.

    Raises:
        ParameterError: unknown profile, missing file, or a value that `check` refuses.
    """
    if profile not in PROFILES:
        raise ParameterError(f"There is no profile {profile!r}.{_suggest(profile, list(PROFILES))}")
    allowed = declared(name)
    values: object = {}
    if profile != "smoke":
        path = root() / "params" / profile / f"{name}.yml"
        if not path.exists():
            raise ParameterError(f"Profile {profile} of {name} needs params/{profile}/{name}.yml; there is none.")
        values = _read_yaml(path.read_text(encoding="utf-8"), f"params/{profile}/{name}.yml") or {}
    if not isinstance(values, dict):
        raise ParameterError(f"params/{profile}/{name}.yml must hold 'name: value' lines.")
    return check({**values, **(overrides or {})}, allowed)


def from_command_line(pairs: list[str]) -> dict:
    """Return `{name: value}` of texts `name=value`, values read as YAML.

    Raises:
        ParameterError: a text without `=`, or a value that is not YAML.
    """
    values = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise ParameterError(f"-p {pair} is not name=value.")
        if key.strip() in values:
            raise ParameterError(f"-p gives {key.strip()} twice; give each parameter once.")
        values[key.strip()] = _read_yaml(value, f"-p {pair}")
    return values


def _read_yaml(text: str, where: str) -> object:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ParameterError(f"{where} is not YAML: {str(error).splitlines()[0]}.") from None


def _suggest(word: str, known: list[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return f"{hint} Expected one of {', '.join(known)}."
