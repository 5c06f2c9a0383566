"""Last touches on finished pages: what a browser, a reader of the screen and another site want to know of them."""

from __future__ import annotations

import re
from html import escape, unescape

#: The longest description that search engines show.
LONGEST = 160

#: A page without a list of contents is as wide as its tables need. That a page has one cannot be asked in a style
#: sheet: it stands behind the text in a page's source, and the text would jump as a browser reads so far.
WIDE = (
    "<style>@media screen and (min-width: 1200px) "
    "{ html body .bd-main .bd-content .bd-article-container { max-width: min(100%, 66rem); } }</style>"
)

_RECIPES = '<div class="cu-scroll"><table><tr><th>'
_EMPTY_HEAD = re.compile(r"<th\b[^>]*>\s*(?:<p>\s*</p>\s*)?</th>")
_PARAGRAPH = re.compile(r"<p>(?P<text>.*?)</p>", re.DOTALL)


def finished(body: str) -> str:
    """Return a page's HTML with honest labels."""
    # the label hides what the fold itself says it shows
    body = body.replace(' aria-label="Toggle hidden content"', "")
    # the list of references is a list; its role for entries is gone from the standard
    body = body.replace(' role="doc-biblioentry"', ' role="listitem"')
    # a table of recipes that is wider than its place scrolls, and the keyboard has to get there
    body = body.replace(_RECIPES, _RECIPES.replace(">", ' tabindex="0">', 1))
    # a corner of a table that says nothing is no head of a column
    return _EMPTY_HEAD.sub("<td></td>", body)


def description(body: str) -> str:
    """Return the first paragraph of a page that says something, as plain text; empty where it has none."""
    for paragraph in _PARAGRAPH.finditer(body):
        text = " ".join(unescape(re.sub("<[^>]+>", "", paragraph["text"])).split())
        if len(text) > 60:
            return text if len(text) <= LONGEST else text[: LONGEST - 2].rpartition(" ")[0].rstrip(",;:") + " …"
    return ""


def head(title: str, told: str, picture: str) -> str:
    """Return the elements of a page's head that tell other sites what it is, and which picture to show of it."""
    title, told = escape(unescape(re.sub("<[^>]+>", "", title))), escape(told)
    lines = [f'<meta property="og:title" content="{title}" />', '<meta property="og:type" content="article" />',
             f'<meta property="og:image" content="{picture}" />',
             '<meta name="twitter:card" content="summary_large_image" />']  # fmt: skip
    if told:
        lines = [f'<meta name="description" content="{told}" />', *lines,
                 f'<meta property="og:description" content="{told}" />']  # fmt: skip
    return "\n".join(lines)


def colophon(title: str, record: dict | None) -> str:
    """Return the line that stands below a page on paper: of what book it is, and of which run."""
    title = escape(unescape(re.sub("<[^>]+>", "", title)))
    run = ""
    if record:
        commit = record.get("environment", {}).get("commit", "unknown").rstrip("+")
        run = f", run of {record['started'][:10]} at profile {record['profile']}, commit {escape(commit)}"
    return f'<p class="cu-print">Five Reports, Rerun: {title}{run}.</p>'
