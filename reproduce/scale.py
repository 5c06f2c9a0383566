"""How large an experiment is beside the report's own: `with run.scale(images=len(train), epochs=epochs):`."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from numbers import Real
from typing import TYPE_CHECKING, Any

from cifar_utils.errors import ParameterError
from cifar_utils.measure import words

from .show import one_of

if TYPE_CHECKING:
    from .chapter import Chapter

#: Letters in a line of a figure's stamp, which is as much as a figure as wide as a page has room for.
STAMP_WIDTH = 72


class Scale:
    """The size of an experiment, and a block in which measurements and figures are of that size.

    The block may be entered in several cells. Numbers must be at least the report's, everything else, such
    as a list of layers, the same.

    Attributes:
        here: what this run has, by name.
        of: what the report has, by name.
    """

    def __init__(self, chapter: Chapter, here: Mapping[str, object], of: Mapping[str, object]):
        if unknown := [name for name in here if name not in of]:
            raise ParameterError(
                f"run.scale was given {unknown[0]!r}, of which the report's own number is not declared "
                f"({', '.join(of) or 'nothing is'}); add it to chapter.start(..., scale=dict({unknown[0]}=...)) "
                f"or give run.scale(..., of=dict({unknown[0]}=...))."
            )
        self.here, self.of = dict(here), {name: of[name] for name in here}
        self._chapter, self._before = chapter, []

    @property
    def smaller(self) -> list[str]:
        """The names of what is less than the report's, or other."""
        return [name for name, value in self.here.items() if not _reaches(value, self.of[name])]

    @property
    def is_full(self) -> bool:
        """Whether the experiment is as large as the report's."""
        return not self.smaller

    @property
    def words(self) -> str:
        """The size in words, such as `2,000 images, 3 epochs instead of 50,000 and 20`; less only is told."""
        if self.is_full:
            return ", ".join(_quantity(name, value) for name, value in self.here.items())
        amounts = [name for name in self.smaller if _is_number(self.here[name])]
        told = []
        if amounts:
            wanted = [words.parameter(self.of[name]) for name in amounts]
            also = " and ".join([", ".join(wanted[:-1]), wanted[-1]] if wanted[1:] else wanted)
            told.append(f"{', '.join(_quantity(name, self.here[name]) for name in amounts)} instead of {also}")
        told += [f"{_quantity(name, self.here[name])} instead of {words.parameter(self.of[name])}"
                 for name in self.smaller if name not in amounts]  # fmt: skip
        return "; ".join(told)

    @property
    def stamp(self) -> str:
        """What figures of this size say above them, in lines; nothing at full scale."""
        return "" if self.is_full else "\n".join(textwrap.wrap(f"scaled down: {self.words}", STAMP_WIDTH))

    def __enter__(self) -> Scale:
        self._before.append(self._chapter.enter(self))
        return self

    def __exit__(self, *_) -> None:
        self._chapter.leave(self._before.pop())


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _reaches(value: Any, wanted: Any) -> bool:
    return value >= wanted if _is_number(value) and _is_number(wanted) else value == wanted


def _quantity(name: str, value: object) -> str:
    """Return `3 epochs`, `1 epoch` or, for what is not counted, `width 16` and `layers 8, 4`."""
    name = name.replace("_", " ")
    counted = name.endswith("s") and not name.endswith("ss")
    if not _is_number(value) or not counted:
        return f"{name} {words.parameter(value)}"
    return f"{words.parameter(value)} {one_of(name) if value == 1 else name}"
