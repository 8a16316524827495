"""The entry for the public registry of ACP agents, by its published rules."""

from __future__ import annotations

import json
import re
from pathlib import Path

from mandrake_sessions import __version__


def test_the_entry_is_of_this_release() -> None:
    path = Path(__file__).parents[2] / "docs" / "acp-registry" / "agent.json"
    entry = json.loads(path.read_text(encoding="utf-8"))
    assert re.fullmatch(r"[a-z][a-z0-9-]*", entry["id"])
    assert entry["version"] == __version__
    assert entry["name"]
    assert entry["description"]
    assert entry["distribution"]["uvx"]["package"] == f"mandrake-sessions=={__version__}"
    assert entry["distribution"]["uvx"]["args"][:2] == ["acp", "--"]
