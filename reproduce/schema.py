"""The JSON schema of the ledger's files, with which an editor checks and completes claims while one types them.

`python -m reproduce.schema > claims/schema.json` writes it anew from the model. Loading does without it, as it says
more, such as that a claim stands twice, and says it in one sentence.
"""

from __future__ import annotations

import inspect
import json
import re
from typing import get_args

from .evidence import GIVEN, Certainty, Origin, Setting
from .ledger import COMPARISONS, ENTRY, FILE, GROUP, ID, KINDS, NEEDED, RELATIVE, Claim

_TEXT = {"type": "string", "pattern": r"\S"}
_SHARE = {"type": "string", "pattern": f"^{RELATIVE}$"}

#: What each field of a claim may hold; a test compares this with what `Claim` itself refuses.
_CLAIM: dict[str, dict] = {
    "id": {"type": "string", "pattern": f"^{ID}$"},
    "where": _TEXT,
    "says": {"type": "string", "pattern": r"^(?!\s*$|\.\.\.|…)"},
    "kind": {"enum": list(KINDS)},
    "value": {"type": "number"},
    "unit": {"type": "string"},
    "comparison": {"enum": list(COMPARISONS)},
    "within": {"anyOf": [{"type": "number", "exclusiveMinimum": 0}, _SHARE]},
    "because": _TEXT,
    "asks": _TEXT,
    "scale": _TEXT,
    "fitted": {"type": "boolean"},
    "points": {"type": "object", "minProperties": 2, "additionalProperties": {"type": "number"}},
    "along": _TEXT,
    "repeats": {"type": "string", "pattern": f"^{ID}$"},
    "source": _TEXT,
}

#: The same for an entry of `settings`.
_SETTING: dict[str, dict] = {name: _TEXT for name in GIVEN} | {
    "from": {"enum": list(get_args(Origin))},
    "certainty": {"enum": [word for word in get_args(Certainty) if word]},
}

_NUMBERS: dict = {"oneOf": [{"required": ["value"]}, {"required": ["points"]}]}

#: What fields ask of each other.
_TOGETHER: dict = {
    "dependentRequired": {
        "within": ["because"],
        "because": ["within"],
        "points": ["along", "within"],
        "along": ["points"],
    },
    "allOf": [
        {
            "if": {"properties": {"kind": {"const": "direction"}}},
            "then": {"if": {"properties": {"comparison": {"const": "equal"}}}, "then": {"required": ["within"]}},
            "else": _NUMBERS,
        },
        {
            "if": {"properties": {"kind": {"enum": ["derivation", "setting"]}}},
            "then": {"properties": {"fitted": {"const": False}}},
        },
        {
            "if": {"properties": {"within": _SHARE}, "required": ["within"]},
            "then": {"properties": {"value": {"not": {"const": 0}}}, **_NUMBERS},
        },
        {
            "if": {"required": ["points"]},
            "then": {"properties": {"kind": {"const": "measured"}, "comparison": {"const": "equal"}}},
        },
    ],
}


def schema() -> dict:
    """Return the schema of `claims/REPORT.yml`; what it says of a claim's fields is `Claim`'s docstring."""
    about = _attributes(Claim)
    about["scale"] += " `none` where the report ran nothing for one claim of a notebook whose others share a scale."
    claim = _mapping({name: {"description": about[name], **_CLAIM[name]} for name in ENTRY}, NEEDED) | _TOGETHER
    scale = {"description": "What the report ran for this notebook's experiments, in words.", **_TEXT}
    about_settings = {"from" if name == "origin" else name: text for name, text in _attributes(Setting).items()}
    needed = ("what", "value", "from", "where")
    setting = _mapping({n: {"description": about_settings[n], **_SETTING[n]} for n in GIVEN}, needed)
    settings = {"description": "Where its settings come from.", "type": "array", "items": setting}
    claims = {"description": "The claims that this notebook answers.", "type": ["array", "null"], "items": claim}
    group = _mapping(dict(zip(GROUP, (scale, settings, claims), strict=True)), ("claims",))
    title = {"description": "The report's title.", **_TEXT}
    course = {"description": "The course that it was written for.", **_TEXT}
    notebooks = {
        "description": "The report's claims by the notebook that answers them, in the book's order.",
        "type": ["object", "null"],
        "additionalProperties": group,
    }
    file = _mapping(dict(zip(FILE, (title, course, notebooks), strict=True)), FILE)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Claims of a report"} | file


def _mapping(properties: dict[str, dict], needed: tuple[str, ...]) -> dict:
    """Return the schema of a mapping with these fields and no other."""
    return {"type": "object", "properties": properties, "required": list(needed), "additionalProperties": False}


def _attributes(cls: type) -> dict[str, str]:
    """Return what a class's docstring says of each of its attributes."""
    _, _, listed = (inspect.getdoc(cls) or "").partition("Attributes:\n")
    entries = re.findall(r"^    (\w+): (.*?)(?=^    \w|\Z)", listed, re.DOTALL | re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in entries}


def text() -> str:
    """Return the schema as it stands in `claims/schema.json`."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    print(text(), end="")
