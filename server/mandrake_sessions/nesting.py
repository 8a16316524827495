"""How deep a JSON value is nested, without recursion."""

from __future__ import annotations

from typing import Any

# Asked about each value: a union of types takes twice the time of a tuple.
CONTAINERS = (dict, list)


def is_deeper_than(value: Any, levels: int) -> bool:
    """Whether it has more levels of objects and arrays than that, its own included."""
    layer = [value] if isinstance(value, CONTAINERS) else []
    for _ in range(levels):
        layer = [
            child
            for container in layer
            for child in (container.values() if isinstance(container, dict) else container)
            if isinstance(child, CONTAINERS)
        ]
        if not layer:
            return False
    return True
