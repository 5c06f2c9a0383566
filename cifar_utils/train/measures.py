"""What is measured on a network once it is trained, and kept in its record, so that the network is needed once."""

from __future__ import annotations

import dis
import inspect
import textwrap
import types
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

import torch

from .. import environment, fingerprint
from ..errors import ParameterError

if TYPE_CHECKING:
    from .records import Training

#: Measures by name, JSON-ready values of a finished training.
#:
#: :meta hide-value:
MEASURES: dict[str, Callable[[Training], Any]] = {}

#: Files that a measure's code does not count with: they hand it the training, and keep what it returns.
AROUND = ("train/measures.py", "train/records.py")


def register(name: str) -> Callable[[Callable], Callable]:
    """Return a decorator that gives a measure a name, by which `run.train(arms, measures=[name])` asks for it.

    The function takes a `Training` and returns numbers, texts, or lists and dicts of them. It is whole in itself:
    what it uses stands in it or is imported, for its code decides whether a stored value is still the right one.

    Args:
        name: how chapters call it; registering it again replaces it, as when a cell runs twice.
    """

    def keep(function: Callable) -> Callable:
        MEASURES[name] = function
        return function

    return keep


def of(training: Training, name: str) -> Any:
    """Return a measure of a training, as its record has it.

    Raises:
        ParameterError: it was not asked for when the training was.
    """
    there = training.record.get("measured", {})
    if name not in there:
        raise ParameterError(
            f"Training {training.record['key']} has no measure {name!r}; ask for it: run.train(arms, "
            f"measures=[{name!r}])."
        )
    return there[name]["value"]


def code_of(name: str) -> str:
    """Return a sum over a measure's code and all code of the package that it uses.

    Raises:
        ParameterError: there is no such measure, or it uses something of its own notebook.
    """
    return _code_of(_find(name))


def lacking(record: dict, names: Iterable[str]) -> list[str]:
    """Return which measures a training's record does not have, or has by other code."""
    there = record.get("measured", {})
    return [name for name in names if there.get(name, {}).get("code") != code_of(name)]


def taken(training: Training, names: Iterable[str]) -> dict[str, dict]:
    """Return measures of a training, taken now, by name: value, sum of its code, and when and on what it was taken.

    Raises:
        RunError: its weights are not here.
    """
    on = {
        "taken": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": environment.machine(training.device),
        "commit": environment.commit(),
    }
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        return {name: {"value": _find(name)(training), "code": code_of(name), **on} for name in names}


def _find(name: str) -> Callable[[Training], Any]:
    if name not in MEASURES:
        raise ParameterError(f"There is no measure called {name!r}; expected one of {', '.join(MEASURES)}.")
    return MEASURES[name]


@cache
def _code_of(function: Callable) -> str:
    sources = [textwrap.dedent(inspect.getsource(function))]
    if function.__module__.startswith(fingerprint.PACKAGE.name):  # then its whole file counts, and what that imports
        sources.append(f"from {function.__module__} import {function.__name__}")
    else:
        _is_whole(function)
    return fingerprint.of_code(sources, without=AROUND)


def _is_whole(function: Callable) -> None:
    """Refuse a chapter's function that uses another one of the chapter, or its values.

    Raises:
        ParameterError: it does.
    """
    for name in sorted(_globals_of(function.__code__) & set(function.__globals__)):
        value = function.__globals__[name]
        if not isinstance(value, types.ModuleType) and getattr(value, "__module__", None) in (
            None,
            function.__module__,
        ):
            raise ParameterError(
                f"The measure {function.__name__} uses {name}, whose code would not count as its own; write {name} "
                "inside of it, or import it."
            )


def _globals_of(code: types.CodeType) -> set[str]:
    """Return the globals that a function and those inside of it use."""
    found = {each.argval for each in dis.get_instructions(code) if each.opname == "LOAD_GLOBAL"}
    return found.union(*(_globals_of(inner) for inner in code.co_consts if isinstance(inner, types.CodeType)))
