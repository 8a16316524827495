"""How often an import looks for cycles of objects that nothing else refers to."""

from __future__ import annotations

import gc
from typing import Final

# Python's own is 700. A reading makes very many values and hardly a cycle: with it, one part in ten of the time went
# into looking for some.
_YOUNG: Final = 20_000


def look_seldom() -> None:
    """From now on, in this process."""
    _, middle, old = gc.get_threshold()
    # What is there by now, modules above all, stays as long as the process, and is not looked through again.
    gc.freeze()
    gc.set_threshold(_YOUNG, middle, old)
