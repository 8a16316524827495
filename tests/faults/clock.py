"""A wrong clock inside a real server: what ``time.time`` says is moved by the seconds in the file ``FAULTS_CLOCK``."""

from __future__ import annotations

import os
import time
from pathlib import Path


def install() -> None:
    """Move the clock from now on; the file may be changed at any time by renaming another over it."""
    path = Path(os.environ["FAULTS_CLOCK"])
    real, real_ns = time.time, time.time_ns
    time.time = lambda: real() + float(path.read_text())
    time.time_ns = lambda: real_ns() + int(float(path.read_text()) * 1_000_000_000)
