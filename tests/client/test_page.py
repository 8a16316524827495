"""The examples of docs/client.md, as they stand there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from wire import TIMEOUT, clean_environment

PAGE = (Path(__file__).parents[2] / "docs" / "client.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "printed"),
    [
        ("client", ["streaming at first: 0", "A few files."]),
        ("sync", ["streaming at first: 0", "['created', 'updated']"]),
    ],
)
def test_an_example_does_what_the_page_says(workspace: Path, name: str, printed: list[str]) -> None:
    found = re.search(rf"<!-- example: {name} -->\n```python\n(.*?)```", PAGE, re.DOTALL)
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
    assert done.stdout.splitlines() == printed
    assert all(f"`{line}`" in PAGE for line in printed)
