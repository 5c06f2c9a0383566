"""Numbers as text, in one place: thousands apart, sensible digits, a typographic minus, NaN in words.

A spec says how: `[mean] [+][,][.digits][f|g|e|%] [unit]`, all of it optional; a unit is any words. For a number and
for a `Summary`::

    (nothing)       1,234 or 0.1 or 12.3    12.3 [11.9, 12.7]
    .1f %           61.3 %                  61.3 [60.9, 61.7] %
    %               61.3 %                  61.3 [60.9, 61.7] %         one digit, two below 1
    mean %          61.3 %                  61.3 %
    .1%             61.3 %                  61.3 [60.9, 61.7] %         of 0.613: Python's own, for shares
    points          +1.2 points             +1.2 [0.4, 2.0] points      differences carry a sign
    .2f times       3.20 times              3.20 [3.11, 3.29] times
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from numbers import Integral, Real

from ..errors import ParameterError

_SUPERSCRIPT = str.maketrans("+-0123456789", "⁺⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_SPEC = re.compile(
    r"(?P<mean>mean\b\s*)?(?P<sign>\+)?(?P<comma>,)?"
    r"(?P<code>(?:\.\d+)?[fge](?=\s|$)|\.\d+%(?=\s|$)|)\s*(?P<unit>(?:[^\W\d_]|[%°×/(]).*)?"
)


@dataclass(frozen=True)
class Format:
    """How a number is written.

    Attributes:
        mean: only the mean of a `Summary`, without its interval.
        sign: with a plus sign.
        code: Python's format code, such as `,.1f`; empty for digits that suit the number.
        unit: what stands behind the number.
    """

    mean: bool
    sign: bool
    code: str
    unit: str

    def number(self, value: float, like: float | None = None, sign: bool | None = None) -> str:
        """Return a number without its unit.

        Args:
            value: the number.
            like: give it as many digits as this number would get, such as an interval's bound like its mean.
            sign: with a plus sign, otherwise than the format says.
        """
        if not math.isfinite(value):
            return "not defined" if math.isnan(value) else "∞" if value > 0 else "−∞"
        code = self.code or self._fitting(value, like)
        text = f"{value:{'+' if (self.sign if sign is None else sign) else ''}{code}}".removesuffix("%")
        if not re.search("[1-9]", text.partition("e")[0]):
            text = text.lstrip("+-")  # rounded to nothing, zero has no sign
        if match := re.fullmatch(r"([+-]?)([\d.,]+)e([+-]\d+)", text):
            power = f"10{str(int(match[3])).translate(_SUPERSCRIPT)}"
            text = match[1] + (power if match[2] == "1" else f"{match[2]}·{power}")
        return text.replace("-", "−")

    def _fitting(self, value: float, like: float | None) -> str:
        """Return the format code for a number whose digits nobody has chosen."""
        size = abs(value if like is None or not math.isfinite(like) else like)
        if isinstance(value, Integral):
            return ",d"
        if self.unit in ("%", "points"):
            return f",.{2 if 0 < size < 1 else 1}f"
        if like is None:  # three digits, but no zeros behind a number that is short, such as a rate
            return ",.0f" if size >= 100 else ".3g"
        if 0 < size < 1e-3:
            return ".1e"
        return f",.{min(max(0, 2 - math.floor(math.log10(size))), 4) if size else 2}f"

    def with_unit(self, text: str) -> str:
        """Return a number's text with the unit behind it."""
        return f"{text} {self.unit}".strip()


@lru_cache(maxsize=256)
def parse(spec: str) -> Format:
    """Return what a spec says.

    Raises:
        ParameterError: it is no spec.
    """
    found = _SPEC.fullmatch(spec.strip())
    if not found:
        raise ParameterError(
            f"{spec!r} says not how to write a number; expected a format and a unit, such as '+.1f points', '.2f', "
            "'%', 'mean .1f %' or '.0%' (for a share)."
        )
    code, unit = found["code"], (found["unit"] or "").strip()
    sign = bool(found["sign"]) or (not code and unit == "points")
    if code.endswith("f") or (found["comma"] and code):  # thousands apart
        code = f",{code}"
    return Format(bool(found["mean"]), sign, code, "%" if code.endswith("%") and not unit else unit)


def text(value: object, spec: str = "") -> str:
    """Return a value as prose writes it: a number or `Summary` by a spec, a list with commas, a string as it is."""
    if getattr(value, "ndim", None) is not None and hasattr(value, "tolist"):  # an array or a tensor
        value = value.tolist()  # pyright: ignore[reportAttributeAccessIssue]
    if isinstance(value, str):
        return in_words(value)
    if value is None or isinstance(value, bool):
        return {None: "none", True: "yes", False: "no"}[value]
    if isinstance(value, Real):
        form = parse(spec)
        return form.number(value) if math.isnan(value) else form.with_unit(form.number(value))  # pyright: ignore[reportArgumentType]
    if hasattr(value, "has_interval"):  # a Summary, which lies above this module
        return format(value, spec)
    if isinstance(value, Iterable):
        form = parse(spec)
        each = [text(v, spec) for v in value]
        if form.unit:  # the unit is said once, behind the last
            each = [*(t.removesuffix(form.unit).rstrip() for t in each[:-1]), *each[-1:]]
        return ", ".join(each) or "none"
    return in_words(str(value))


def parameter(value: object) -> str:
    """Return a parameter as prose writes it: thousands apart, rates as short as they were typed."""
    if isinstance(value, list | tuple):
        return ", ".join(map(parameter, value)) or "none"
    return text(value, "g" if isinstance(value, float) else "")


def in_words(text: str) -> str:
    """Return a text with typographic minus signs, without intervals of NaN, and with any other NaN put into words."""
    without = re.sub(r" ?\[[+−-]?nan, [+−-]?nan\]", "", text)
    defined = re.sub(r"[+−-]?\bnan\b( (%|points))?", "not defined", without)
    return re.sub(r"(?<![\w.)\]-])-(?=\d)", "−", defined)
