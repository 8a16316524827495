"""Directories that cannot be written to, and disks that are full, for root too."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest


def _mount(*arguments: str) -> None:
    """Skips the test where this user may not mount."""
    try:
        subprocess.run(["mount", *arguments], check=True, capture_output=True, timeout=20)
    except (OSError, subprocess.SubprocessError) as error:
        pytest.skip(f"mounting is not allowed here: {error}")


def _unmount(directory: Path) -> None:
    # Lazily: a server that is still ending may hold it for a moment.
    subprocess.run(["umount", "--lazy", str(directory)], check=True, capture_output=True, timeout=20)


@contextmanager
def mounted_over(source: Path, target: Path) -> Iterator[None]:
    """One directory over another for the block. Skips the test where this user may not mount."""
    _mount("--bind", str(source), str(target))
    try:
        yield
    finally:
        _unmount(target)


class Switch:
    """Whether a directory and all in it may be written, changed while servers use it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._as_root = os.name == "posix" and os.geteuid() == 0
        if self._as_root:
            _mount("--bind", str(directory), str(directory))

    def set(self, *, writable: bool) -> None:
        if self._as_root:
            _mount("-o", f"remount,bind,{'rw' if writable else 'ro'}", str(self._directory))
            return
        for path in (*self._directory.iterdir(), self._directory):
            path.chmod((0o700 if path.is_dir() else 0o600) if writable else (0o500 if path.is_dir() else 0o400))

    def close(self) -> None:
        self.set(writable=True)
        if self._as_root:
            _unmount(self._directory)


@contextmanager
def switch(directory: Path) -> Iterator[Switch]:
    found = Switch(directory)
    try:
        yield found
    finally:
        with suppress(FileNotFoundError):
            found.close()
