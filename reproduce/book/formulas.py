"""Formulas as MathML: browsers draw it themselves, so a page needs no script for it and nothing moves as it opens."""

from __future__ import annotations

import re
from html import escape

import latex2mathml.converter
from docutils import nodes
from sphinx.errors import ExtensionError

#: Functions whose names stand upright, with a thin space between them and a number or a letter on either side.
_FUNCTIONS = r"\\(?:ln|log|exp|max|min|tanh|sin|cos)(?![A-Za-z])"
_BEFORE = re.compile(rf"(?<=[\w}})])\s*(?={_FUNCTIONS})")
_AFTER = re.compile(rf"({_FUNCTIONS})\s*(?=[A-Za-z0-9]|\\(?!bigl|Big|left|\{{|,|;|quad))")

#: A minus that follows another operator, or begins a group, is a sign.
_SIGN = re.compile(
    r"(<mo[^>]*>(?:=|\(|&#x00028;|&#x0003D;|,|&#x0002C;|&#x02248;|&#x02264;)</mo>)<mo>(&#x02212;|−)</mo>"
)

#: Accents as signs of their own: what browsers make of `accent` touches the letter below.
_HAT, _TILDE = re.compile(r"<mo[^>]*>&#x0005E;</mo>"), re.compile(r"<mo[^>]*>&#x0007E;</mo>(?=</mover>)")

#: What does not begin a line.
_CLOSING = tuple(".,;:!?)")

#: Of a norm: as high as a letter, where a browser would stretch the left one alone to the power behind the right one.
_BAR = '<mo stretchy="false">&#x02016;</mo>'


def mathml(latex: str, block: bool = False) -> str:
    r"""Return the MathML of a formula.

    Args:
        latex: what stands between the dollars; a block may have an environment such as `\begin{align}`.
        block: whether it stands in a line of its own.

    Raises:
        ExtensionError: the formula cannot be read.
    """
    spaced = _AFTER.sub(r"\1\\,", _BEFORE.sub(r"\\,", latex.strip()))
    braces = re.sub(r"\\[{}]", "", latex)
    if braces.count("{") != braces.count("}"):  # the converter would leave something out, and say nothing
        raise ExtensionError(f"The formula {latex.strip()!r} cannot be read: its braces do not match.")
    try:
        drawn = latex2mathml.converter.convert(spaced, display="block" if block else "inline")
    except Exception as error:  # the converter has no common ancestor for its errors
        raise ExtensionError(
            f"The formula {latex.strip()!r} cannot be read: {error or type(error).__name__}."
        ) from error
    if unknown := re.search(r"\\[A-Za-z]+", drawn):
        raise ExtensionError(f"The formula {latex.strip()!r} has {unknown[0]}, which the book cannot draw.")
    drawn = _HAT.sub('<mo stretchy="false">&#x002C6;</mo>', drawn.replace('<mover accent="true">', "<mover>"))
    drawn = drawn.replace("<mo>&#x02016;</mo>", _BAR)
    drawn = _TILDE.sub('<mo stretchy="false">&#x002DC;</mo>', drawn)
    return _SIGN.sub(r'\1<mo form="prefix">\2</mo>', drawn)


def visit_inline(self, node: nodes.math) -> None:
    """Write a formula in a line of text, joined to a full stop or comma behind it."""
    behind = node.parent.children[node.parent.index(node) + 1 :][:1]
    closes = any(isinstance(each, nodes.Text) and each.startswith(_CLOSING) for each in behind)
    joined = "\u2060" if closes else ""  # a joiner of words
    self.body.append(f'<span class="math notranslate">{mathml(node.astext())}</span>{joined}')
    raise nodes.SkipNode


def visit_block(self, node: nodes.math_block) -> None:
    """Write a formula in a line of its own, with its number where it has one."""
    self.body.append(self.starttag(node, "div", CLASS="math notranslate", tabindex="0"))  # a long one scrolls
    if node["number"]:
        self.body.append(f'<span class="eqno">({escape(str(node["number"]))})')
        self.add_permalink_ref(node, "Link to this equation")
        self.body.append("</span>")
    self.body.append(mathml(node.astext(), block=True) + "</div>\n")
    raise nodes.SkipNode
