"""What no page uses is not sent: rules of style, letters of icon fonts, scripts of the search; and pictures are sent
in the format that takes least, without a loss."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import tinycss2
from PIL import Image

#: The theme's icons twice: a script that draws them, and fonts that do without it, in a tenth of the bytes.
ICON_SCRIPT = Path("_static/scripts/fontawesome.js")
ICON_FONTS = Path("_static/vendor/fontawesome/webfonts")

_SEARCH_SCRIPTS = re.compile(r'\s*<script src="[^"]*\b(?:searchtools|language_data|searchindex)\.js[^"]*"></script>')
_ICON_SCRIPT = re.compile(r"\s*<script [^>]*\bfontawesome\.js[^>]*></script>")
_PICTURE = re.compile(r"(_images/)([\w.-]+\.png)")
_IMAGE = re.compile(r'<img (?P<rest>[^>]*src="[^"]*_images/(?P<name>[\w.-]+\.webp)"[^>]*?) ?/?>')
#: Where icon fonts keep their signs; a few of them are signs of ASCII.
_ICON_LETTER = re.compile("[\ue000-\uf8ff]")
_ASCII = range(0x20, 0x7F)
_CLASS = re.compile(r"\.((?:[\w-]|\\.)+)")
_CLASSES = re.compile(r'\bclass="([^"]*)"')
_INLINE_SCRIPT = re.compile(r"<script\b[^>]*>(.+?)</script>", re.DOTALL)
_WORD = re.compile(r"[\w-]+")


def lighten(out: Path) -> None:
    """Take from a finished book's files what none of its pages uses.

    Args:
        out: the folder of the pages. Everything else in it is made anew with every build, so that a page written
            later finds what it needs.
    """
    pages = [path for path in out.rglob("*.html") if "_static" not in path.relative_to(out).parts]
    pictures = sorted((out / "_images").glob("*.png"))
    with ThreadPoolExecutor() as pool:  # Pillow lets other threads on while it packs
        smaller = {png.name: webp.name for png, webp in zip(pictures, pool.map(as_webp, pictures), strict=True)}
    sizes = {path.name: _size(path) for path in (out / "_images").glob("*.webp")}
    words: set[str] = set()
    for page in pages:
        before = page.read_text(encoding="utf-8")
        text = _PICTURE.sub(lambda found: found[1] + smaller.get(found[2], found[2]), before)
        text = _ICON_SCRIPT.sub("", text)
        text = _IMAGE.sub(lambda found: _with_size(found, sizes), text)
        if page.name != "search.html":  # there the theme asks for them once more
            text = _SEARCH_SCRIPTS.sub("", text)
        _rewrite(page, before, text)
        words.update(classes(text))
    (out / ICON_SCRIPT).unlink(missing_ok=True)
    for path in (out / "_static").rglob("*.js"):
        words.update(_WORD.findall(path.read_text(encoding="utf-8")))
    letters = set(_ASCII)
    for path in (out / "_static").rglob("*.css"):
        _change(path, lambda text: rules(text, words))
        letters.update(map(ord, _ICON_LETTER.findall(path.read_text(encoding="utf-8"))))
    for path in (out / ICON_FONTS).glob("*"):
        if path.suffix == ".woff2":
            path.write_bytes(font(path.read_bytes(), letters))
        else:
            path.unlink()  # every browser of the last ten years takes the other
    for path in (out / "_static").rglob("*.map"):
        path.unlink()


def _change(path: Path, change: Callable[[str], str]) -> None:
    text = path.read_text(encoding="utf-8")
    _rewrite(path, text, change(text))


def _rewrite(path: Path, before: str, after: str) -> None:
    if after != before:
        path.write_text(after, encoding="utf-8")


def as_webp(png: Path) -> Path:
    """Put a WebP file of the very same pixels in the place of a PNG file, and return it."""
    webp = png.with_suffix(".webp")
    with Image.open(png) as picture:
        picture.save(webp, "webp", lossless=True, method=2)  # higher methods take longer and save little
    png.unlink()
    return webp


def _size(picture: Path) -> tuple[int, int]:
    with Image.open(picture) as opened:
        return opened.size


def _with_size(found: re.Match, sizes: dict[str, tuple[int, int]]) -> str:
    """A picture's tag with its size, so that nothing moves as it arrives; it is fetched as a reader comes near."""
    if "width=" in found["rest"] or found["name"] not in sizes:
        return found[0]
    width, height = sizes[found["name"]]
    return f'<img {found["rest"].rstrip()} width="{width}" height="{height}" loading="lazy" />'


def classes(page: str) -> set[str]:
    """Return the classes of a page's elements, and the words of its own scripts, which may add others."""
    given = {name for found in _CLASSES.findall(page) for name in found.split()}
    return given.union(*map(_WORD.findall, _INLINE_SCRIPT.findall(page)))


def rules(css: str, words: set[str]) -> str:
    """Return a style sheet without the rules whose classes no element has and no script may add.

    Args:
        css: the style sheet.
        words: the classes of the pages and all words of scripts; a selector stays when each of its classes is one.
    """
    return _serialised(tinycss2.parse_stylesheet(css, skip_comments=True, skip_whitespace=True), words)


def _serialised(parsed: Iterable, words: set[str]) -> str:
    written = []
    for rule in parsed:
        if rule.type == "qualified-rule":
            kept = [s for s in _selectors(rule.prelude) if _is_used(s, words)]
            if kept:
                written.append(f"{','.join(kept)}{{{tinycss2.serialize(rule.content).strip()}}}")
        elif rule.type == "at-rule" and rule.lower_at_keyword in ("media", "supports") and rule.content is not None:
            inner = _serialised(
                tinycss2.parse_rule_list(rule.content, skip_comments=True, skip_whitespace=True), words
            )
            if inner:
                written.append(f"@{rule.at_keyword} {tinycss2.serialize(rule.prelude).strip()}{{{inner}}}")
        else:
            written.append(rule.serialize())
    return "".join(written)


def _selectors(prelude: Iterable) -> list[str]:
    """The selectors of a rule, split at the commas that stand in no bracket."""
    found: list[list] = [[]]
    for token in prelude:
        if token == ",":
            found.append([])
        else:
            found[-1].append(token)
    return [text for tokens in found if (text := tinycss2.serialize(tokens).strip())]


def _is_used(selector: str, words: set[str]) -> bool:
    asked = re.sub(r":(?:not|is|where|has)\((?:[^()]|\([^()]*\))*\)", "", selector)
    return all(name.replace("\\", "") in words for name in _CLASS.findall(asked))


def font(woff2: bytes, letters: Iterable[int]) -> bytes:
    """Return a WOFF2 font with these code points alone."""
    from fontTools import subset

    options = subset.Options(flavor="woff2", layout_features=[], notdef_outline=True)
    face = subset.load_font(io.BytesIO(woff2), options)
    cut = subset.Subsetter(options)
    cut.populate(unicodes=letters)
    cut.subset(face)
    smaller = io.BytesIO()
    subset.save_font(face, smaller, options)
    return smaller.getvalue()
