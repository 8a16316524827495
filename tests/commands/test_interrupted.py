"""Ctrl-C while the program still imports its parts, and a demonstration that nobody reads."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from wire import SERVER, clean_environment


@pytest.mark.parametrize("command", ["serve", "doctor", "demo", "export"])
def test_ctrl_c_before_it_has_begun(workspace: Path, command: str) -> None:
    """The first import of the command line is told on stderr, and the others take longer than the signal."""
    with subprocess.Popen(
        [sys.executable, "-X", "importtime", *SERVER[1:], command, *(["a"] if command == "export" else [])],
        cwd=workspace, env=clean_environment(workspace), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stderr is not None
        assert any("| argparse" in line.replace("  ", "") for line in process.stderr)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
        assert process.returncode == 130
        assert "Traceback" not in said


def test_a_demonstration_that_nobody_reads(workspace: Path) -> None:
    with subprocess.Popen(
        [*SERVER, "demo"],
        cwd=workspace, env=clean_environment(workspace), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(60) == 128 + signal.SIGPIPE
        assert process.stderr is not None
        assert process.stderr.read() == b""
