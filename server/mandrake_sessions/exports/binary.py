"""Values for people: images, sounds and other files in them are named, and not written out."""

from __future__ import annotations

import re
from typing import Any, Final

from mandrake_sessions.amounts import size_text

# The names that ACP, MCP and the programs have for a media type, and for what lies around base64.
_MEDIA_TYPES: Final = ("mimeType", "media_type", "mime_type", "mediaType", "mime")
_ABOUT: Final = frozenset(("type", "format", "detail", *_MEDIA_TYPES))
_AROUND: Final = frozenset((
    "data", "blob", "url", "b64_json", "source", "content", "resource", "image", "image_url", "input_audio",
    "inlineData", "inline_data",
))  # fmt: skip
_FILES: Final = ("data", "blob", "b64_json")
_KINDS: Final = ("image", "audio", "base64")
# Characters of base64: shorter ones may be words, where nothing says that they are a file; and with nothing about them.
_FEW: Final = 100
_MANY: Final = 1000
_MEDIA_TYPE = re.compile(r"[\w.+-]{1,60}/[\w.+-]{1,60}")
_BASE64 = re.compile(r"[A-Za-z0-9+/_\-\r\n]++={0,2}+\s*+")
_URL = re.compile(
    rf"data:(?P<type>[\w.+-]+/[\w.+-]+)?+(?:;[\w.+-]++=[^;,\s]*+)*+;base64,(?P<base64>[A-Za-z0-9+/_%=-]{{{_FEW},}})"
)
_MIXED = (re.compile("[a-z]"), re.compile("[A-Z]"), re.compile("[0-9]"))


class _Named(str):
    """What stands for a file."""

    __slots__ = ()


def without_binary(value: Any) -> Any:
    """The JSON value with ``[image/png, 300.0 kB]`` in the place of a file in base64, and of what only says that there
    is one."""
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, list | tuple):
        return [without_binary(item) for item in value]
    if isinstance(value, dict):
        return _object(value)
    return value


def _object(value: dict[str, Any]) -> Any:
    shown = {name: _file(name, item, value) or without_binary(item) for name, item in value.items()}
    rest = [name for name in shown if name not in _ABOUT]
    if len(rest) == 1 and rest[0] in _AROUND and isinstance(shown[rest[0]], _Named):
        return shown[rest[0]]
    return shown


def _file(name: str, item: Any, around: dict[str, Any]) -> _Named | None:
    """What stands for a member that an object says to be a file."""
    if name not in _FILES or not isinstance(item, str) or _BASE64.fullmatch(item) is None:
        return None
    media_type = next((around[key] for key in _MEDIA_TYPES if isinstance(around.get(key), str)), "")
    kind = around.get("type")
    if kind in _KINDS or (media_type and len(item) >= _FEW):
        return _named(media_type, item, kind if kind in _KINDS[:2] else "binary")
    return None


def _text(text: str) -> str:
    if len(text) >= _MANY and _BASE64.fullmatch(text) and all(kind.search(text) for kind in _MIXED):
        return _named("", text, "binary")
    if ";base64," not in text:
        return text
    whole = _URL.fullmatch(text)
    if whole is not None:
        return _named(whole["type"] or "", whole["base64"], "binary")
    return _URL.sub(lambda found: _named(found["type"] or "", found["base64"], "binary"), text)


def _named(media_type: str, base64: str, kind: str) -> _Named:
    shown = media_type if _MEDIA_TYPE.fullmatch(media_type) else kind
    length = len(base64) - sum(base64.count(character) for character in "=\r\n")
    return _Named(f"[{shown}, {size_text(length * 3 // 4)}]")
