"""How long idle tasks pause."""

from __future__ import annotations

# Seconds to the next step: while there is more to do, while the store is written to, while nothing happens.
AT_ONCE, SOON, LATER = 0.02, 0.5, 5.0
