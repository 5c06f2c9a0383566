"""The picture that another site shows beside a link to a page: the book's, where the page has none of its own."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterable

from matplotlib.figure import Figure

from ..cards import Row
from . import hero

#: Where it lies in a book.
FILE = "_static/share.png"

_FIGURE = re.compile(r'<img[^>]*\bsrc="(?:\.\./)*(?P<path>_images/[^"]+)"')


def address(told: str) -> str:
    """Return the address that a book's pages lie under, as other sites want it whole; empty where it is not known.

    Args:
        told: `html_baseurl` of the configuration. Without it, the one that GitHub's own pages of the repository have.
    """
    owner, _, name = os.environ.get("GITHUB_REPOSITORY", "").partition("/")
    base = told or (f"https://{owner}.github.io/{name}" if name else "")
    return f"{base.rstrip('/')}/" if base else ""


def of_page(body: str) -> str:
    """Return the path, from the book's root, of a page's first figure; of the book's picture where it has none."""
    found = _FIGURE.search(body)
    return found["path"] if found else FILE


def picture(rows: Iterable[Row]) -> bytes:
    """Return the book's picture as PNG, 1200 by 630: what is reported against what came out."""
    judged = [dot for dot in hero.dots(rows) if dot.verdict in hero.JUDGED]
    fig = Figure(figsize=(12, 6.3), dpi=100, facecolor="white", layout="constrained")
    words, ax = fig.subplots(1, 2, width_ratios=(1.1, 1))
    ax.plot([0, 100], [0, 100], color="#57606a", linestyle="--", linewidth=1)
    ax.scatter([dot.reported for dot in judged], [dot.found for dot in judged], s=45, color="#0072B2", alpha=0.6,
               edgecolor="white")  # fmt: skip
    ax.set(xlim=(0, 101), ylim=(0, 101), aspect="equal")
    ax.set_xlabel("reported, %", fontsize=18)
    ax.set_ylabel("reproduced, %", fontsize=18)
    ax.tick_params(labelsize=14)
    ax.spines[["top", "right"]].set_visible(False)
    words.axis("off")
    words.text(0.04, 0.72, "Five Reports,\nRerun", fontsize=50, weight="bold", va="center")
    told = "Every claim of five students' reports\non deep learning, run again"
    words.text(0.04, 0.32, told, fontsize=24, va="center", color="#444444")
    out = io.BytesIO()
    fig.savefig(out, format="png")
    return out.getvalue()
