"""Each text of a page can be read on its ground: WCAG's AA, in light and dark."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mandrake_sessions.exports import page

STYLE = (Path(page.__file__).parent / "page.css").read_text(encoding="utf-8")
TEXTS = ("text", "dim", "accent", "bad", "good", "c-k", "c-s", "c-c", "c-m", "c-f", "c-b", "c-a")
PAIRS = [
    *((text, ground) for text in TEXTS for ground in ("ground", "raised")),
    *((text, "asked") for text in ("text", "dim", "accent")),
    *(("text", ground) for ground in ("added", "removed")),
    *(("on-hit", ground) for ground in ("hit", "hit-now")),
]


def schemes() -> list[dict[str, str]]:
    """The colors of light, dark and paper; each has those of light that it does not change."""
    found = [
        dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block)) for block in re.findall(r":root \{(.*?)\}", STYLE, re.S)
    ]
    return [found[0] | each for each in found]


def luminance(color: str) -> float:
    parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", [0, 1, 2])
@pytest.mark.parametrize(("text", "ground"), PAIRS)
def test_contrast(scheme: int, text: str, ground: str) -> None:
    colors = schemes()[scheme]
    lighter, darker = sorted((luminance(colors[text]), luminance(colors[ground])), reverse=True)
    assert (lighter + 0.05) / (darker + 0.05) >= 4.5


def test_there_are_three_schemes() -> None:
    assert len(schemes()) == 3
