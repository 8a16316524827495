"""Node's packages, which scripts/node_tools has put into the virtual environment."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HOME = Path(sys.prefix) / "node"


def program(name: str) -> str:
    """A program of a package. Without it the test is skipped."""
    found = HOME / "node_modules" / ".bin" / name
    if not found.exists():
        pytest.skip(f"there is no {found}; install npm, then `make clean`")
    return str(found)


def exported(package: str) -> Any:
    """What a package exports, as JSON."""
    program("tsc")
    script = f"const it = require({json.dumps(package)}); process.stdout.write(JSON.stringify(it.default || it))"
    done = subprocess.run(["node", "-e", script], cwd=HOME, capture_output=True, check=True, timeout=60)
    return json.loads(done.stdout)
