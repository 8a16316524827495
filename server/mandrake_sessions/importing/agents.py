"""What agents call themselves, and the one word for each that sessions have as their ``agent``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

_WORDS: Final[Mapping[str, tuple[str, ...]]] = {
    "claude-code": ("claude", "claude-agent", "claude-agent-acp", "claude-code-acp", "claude-cli"),
    "codex": ("codex-acp", "codex-cli", "codex-exec", "codex-tui", "codex-cli-rs", "codex-vscode"),
    "gemini-cli": ("gemini", "gemini-acp"),
    "opencode": ("opencode-acp", "opencode-ai"),
    "goose": ("goose-cli", "block-goose"),
    "aider": ("aider-chat",),
    "vibe": ("mistral-vibe", "vibe-acp"),
    "fast-agent": ("fast-agent-acp", "fast-agent-mcp"),
    "kimi": ("kimi-cli", "kimi-acp"),
    "mandrake": (),
}
_WORD_OF: Final = {name: word for word, names in _WORDS.items() for name in (word, *names)}


def agent_word(name: str) -> str:
    """The word for an agent, from what it calls itself: a name, a title, a package's name or a path of a program. One
    that nobody knows keeps its own name, in lower case with hyphens."""
    last = re.split(r"[/\\]", name.strip())[-1] or name.strip()
    plain = re.sub(r"[\s_.]+", "-", last.lower()).strip("-")
    return _WORD_OF.get(plain, plain)
