"""How a store says what could not be kept: in the metadata of what it belongs to, and in a sentence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mandrake_sessions.acp.waiting_files import Lost


def lost_in_all(before: Any, lost: Lost) -> dict[str, int]:
    """What metadata say of what was lost, with some more."""
    known = before if isinstance(before, dict) else {}
    return {name: int(known.get(name) or 0) + getattr(lost, name) for name in ("events", "bytes")}


def with_lost(metadata: Mapping[str, Any], lost: Lost) -> dict[str, Any]:
    return {**metadata, "lost": lost_in_all(metadata.get("lost"), lost)}


def lost_sentence(lost: Any) -> str:
    size = lost.get("bytes", 0) if isinstance(lost, dict) else 0
    what = f"{size} bytes of text" if size else "a part of this"
    return f"{what} could not be kept: the store could not be written for too long, or was replaced"
