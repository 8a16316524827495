"""The example of docs/client.md, as it stands there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from wire import TIMEOUT, clean_environment

PAGE = (Path(__file__).parents[2] / "docs" / "client.md").read_text(encoding="utf-8")


def test_the_example_does_what_the_page_says(workspace: Path) -> None:
    found = re.search(r"<!-- example: client -->\n```python\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", found[1]],
        cwd=workspace,
        env=clean_environment(workspace),
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines == ["streaming at first: 0", "A few files."]
    assert all(f"`{line}`" in PAGE for line in lines)
