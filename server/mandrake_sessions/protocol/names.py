"""Names on the wire are camel case, names in Python snake case; nothing else differs between them."""

from __future__ import annotations

import re
from functools import cache, lru_cache


# A path may hold the position of one of many tool calls.
@lru_cache(maxsize=4096)
def camel(name: str) -> str:
    """``raw_response`` → ``rawResponse``; a path such as ``tool_calls[0].start_time`` as well."""
    return re.sub(r"_([a-z])", lambda match: match[1].upper(), name)


@cache
def snake(name: str) -> str:
    """``toolCall/upsert`` → ``tool_call_upsert``."""
    return re.sub(r"[A-Z]", lambda match: "_" + match[0].lower(), name).replace("/", "_").replace(".", "_")


def type_name(name: str) -> str:
    """``toolCall/upsert`` and ``tool_call_upsert`` → ``ToolCallUpsert``."""
    return "".join(part[:1].upper() + part[1:] for part in re.split(r"[/._]", name))
