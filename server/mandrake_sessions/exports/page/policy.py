"""What a page looks like and does, and the rule that nothing else may: its style and its script stand in it, and the
browser takes them by their hashes alone."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Final

from markupsafe import Markup


def _read(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


_STYLE, _SCRIPT = _read("page.css"), _read("page.js")

POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        f"style-src {_hash(_STYLE)}",
        f"script-src {_hash(_SCRIPT)}",
        "base-uri 'none'",
        "form-action 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
STYLE: Final = Markup("<style>{}</style>\n").format(Markup(_STYLE))
SCRIPT: Final = Markup("<script>{}</script>\n").format(Markup(_SCRIPT))
