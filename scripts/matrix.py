"""Run tests on each Python from 3.11 to 3.14 that is found on PATH or in pyenv: ``make matrix``.

Without arguments it runs the quick parts; arguments are for pytest. The environments stay in ``.matrix/``. Exit code 1:
a run failed, or no interpreter was found.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
ENVIRONMENTS = ROOT / ".matrix"
MINORS = range(11, 15)
QUICK = (
    "tests/store",
    "tests/manager",
    "tests/protocol",
    "tests/client",
    "tests/conformance",
    "tests/e2e/test_smoke.py",
)
WHICH = "import sys; print('%d.%d.%d' % sys.version_info[:3])"


def main(arguments: list[str]) -> int:
    tests = arguments or list(QUICK)
    lines, passed = [], []
    for minor in MINORS:
        found = find(minor)
        if found is None:
            lines.append(f"3.{minor}: not found")
            continue
        python, version = found
        say(f"--- {version}")
        outcome = run(python, version, tests)
        passed.append(outcome is None)
        lines.append(f"{version}: {outcome or 'passed'}")
    say("\n".join([f"--- pytest {' '.join(tests)}", *lines]))
    return 0 if passed and all(passed) else 1


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def find(minor: int) -> tuple[str, str] | None:
    """An interpreter of 3.``minor`` and its whole version."""
    for python in _candidates(minor):
        version = _version(python)
        if version is not None and version.startswith(f"3.{minor}."):
            return python, version
    return None


def run(python: str, version: str, tests: list[str]) -> str | None:
    """Run the tests in an environment of this interpreter; gives what failed, or None."""
    venv = ENVIRONMENTS / version
    steps = {
        "the environment": ["scripts/bootstrap", str(venv)],
        "its packages": [str(venv / "bin/python"), "-m", "pip", "install", "--quiet", "--group", "dev"],
        "the tests": [str(venv / "bin/python"), "-m", "pytest", "-n", "auto", "-p", "no:cacheprovider", *tests],
    }
    for name, command in steps.items():
        code = subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHON": python}, check=False).returncode
        if code:
            return f"{name} failed with exit code {code}"
    return None


def _candidates(minor: int) -> Iterator[str]:
    on_path = shutil.which(f"python3.{minor}")
    if on_path is not None:
        yield on_path
    # On PATH, pyenv's own python3.12 ends with an error unless that version is selected.
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    yield from map(str, sorted(root.glob(f"versions/3.{minor}.*/bin/python"), reverse=True))


def _version(python: str) -> str | None:
    """None for what cannot be run."""
    try:
        done = subprocess.run([python, "-c", WHICH], capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
