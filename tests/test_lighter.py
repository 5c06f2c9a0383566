"""Formulas as MathML, and what is taken from a finished book because no page uses it."""

import io
from types import SimpleNamespace

import numpy as np
import pytest
from docutils import nodes
from PIL import Image
from sphinx.errors import ExtensionError

from reproduce.book import lighter
from reproduce.book.formulas import mathml, visit_inline

# ---- formulas ----


def test_a_formula_is_drawn_by_the_browser_in_a_line_and_in_one_of_its_own():
    inline, block = mathml(r"\frac{a}{b}"), mathml(r"\frac{a}{b}", block=True)
    assert inline.startswith("<math") and 'display="inline"' in inline and "<mfrac>" in inline
    assert 'display="block"' in block


@pytest.mark.parametrize(
    "latex, spaces",
    [
        (r"10\ln 10", 2),
        (r"\ln x", 1),
        (r"\log(p)", 0),
        (r"x = \max\{0\}", 0),
        (r"\tanh^2 h", 0),
        (r"n \ln\frac{a}{b}", 2),
    ],
)
def test_names_of_functions_stand_apart_from_letters_and_numbers_but_not_from_brackets(latex, spaces):
    assert mathml(latex).count("<mspace") == spaces


@pytest.mark.parametrize(("behind", "joined"), [(". So", True), (", and", True), (" is", False), ("", False)])
def test_a_formula_is_not_parted_from_a_full_stop(behind, joined):
    paragraph, formula = nodes.paragraph(), nodes.math("k", "k")
    paragraph += [formula, nodes.Text(behind)] if behind else [formula, nodes.emphasis("", ". x")]
    page = SimpleNamespace(body=[])
    with pytest.raises(nodes.SkipNode):
        visit_inline(page, formula)
    assert "".join(page.body).endswith("\u2060") == joined


def test_a_minus_behind_another_sign_is_no_subtraction():
    assert 'form="prefix"' in mathml(r"\ell = -\log p") and 'form="prefix"' in mathml(r"e(-x)")
    assert 'form="prefix"' not in mathml("a - b")


def test_accents_are_signs_above_a_letter():
    assert "&#x002C6;" in mathml(r"\hat y") and "&#x002DC;" in mathml(r"\tilde y")


@pytest.mark.parametrize("latex", [r"\frac{a", r"\frac", r"\unheardof{x}"])
def test_a_formula_that_cannot_be_drawn_stops_the_build_with_a_sentence(latex):
    with pytest.raises(ExtensionError, match=r"The formula .* (cannot be read|cannot draw)"):
        mathml(latex)


# ---- what no page uses ----


def test_the_classes_of_a_page_are_those_of_its_elements_and_what_its_scripts_say():
    page = '<p class="a b-c">never <i class=""></i></p><script>add("d")</script><script src="e.js"></script>'
    found = lighter.classes(page)
    assert {"a", "b-c", "d"} <= found and not {"never", "e", "p"} & found


def test_a_rule_stays_while_one_of_its_selectors_is_used():
    css = (
        "@charset 'utf-8'; :root{--a:1} .used,.never{color:red} .never:hover{a:b} p.used:not(.never) b{c:d}"
        "@media print{.never{x:y}.used{z:0}} @media screen{.never{x:y}} @font-face{font-family:F}"
    )
    kept = lighter.rules(css, {"used"})
    assert ":root{--a:1}" in kept and ".used{color:red}" in kept and "p.used:not(.never) b{c:d}" in kept
    assert "@media print{.used{z:0}}" in kept and "@font-face" in kept
    assert "hover" not in kept and "screen" not in kept


def test_a_book_is_lightened_and_keeps_the_pixels_of_its_pictures(tmp_path):
    pixels = np.random.default_rng(0).integers(256, size=(20, 30, 3), dtype=np.uint8)
    (tmp_path / "_images").mkdir()
    (tmp_path / "_static").mkdir()
    Image.fromarray(pixels).save(tmp_path / "_images/a.png")
    (tmp_path / "_static/s.css").write_text(".seen{a:b}.unseen{a:b}")
    (tmp_path / "_static/s.css.map").write_text("{}")
    page = '<p class="seen"><img src="_images/a.png"></p><script src="searchindex.js"></script>'
    page += '<script defer src="_static/scripts/fontawesome.js?digest=1"></script>'
    (tmp_path / "page.html").write_text(page)
    (tmp_path / "search.html").write_text(page)
    lighter.lighten(tmp_path)
    picture = '<img src="_images/a.webp" width="30" height="20" loading="lazy" />'
    assert (tmp_path / "page.html").read_text() == f'<p class="seen">{picture}</p>'
    assert "searchindex.js" in (tmp_path / "search.html").read_text()
    assert (tmp_path / "_static/s.css").read_text() == ".seen{a:b}" and not (tmp_path / "_static/s.css.map").exists()
    assert np.array_equal(np.asarray(Image.open(tmp_path / "_images/a.webp")), pixels)


def test_a_font_is_cut_to_the_letters_that_are_asked_for():
    from fontTools.ttLib import TTFont
    from matplotlib import get_data_path

    whole = TTFont(f"{get_data_path()}/fonts/ttf/DejaVuSans.ttf")
    whole.flavor = "woff2"
    packed = io.BytesIO()
    whole.save(packed)
    cut = lighter.font(packed.getvalue(), [ord("a"), ord("é")])
    assert set(TTFont(io.BytesIO(cut)).getBestCmap()) == {ord("a"), ord("é")}
    assert len(cut) < len(packed.getvalue()) / 20
