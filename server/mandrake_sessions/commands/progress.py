"""How far a command is, on stderr where that is a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mandrake_sessions.maintenance import Progress

# After so many bytes progress is shown again.
_SHOWN_BYTES = 256 * 1024
# On a narrower terminal its numbers would be cut.
_ROOM_FOR_A_BAR = 90


@contextmanager
def shown_bytes(doing: str) -> Iterator[Callable[[Iterable[str]], Iterable[str]]]:
    """Gives what passes the parts of a text on, and shows on stderr how much has passed, if that is a terminal."""
    if not sys.stderr.isatty():
        yield iter
        return
    from rich.console import Console
    from rich.progress import FileSizeColumn, SpinnerColumn, TextColumn
    from rich.progress import Progress as Bar

    columns = (SpinnerColumn(), TextColumn("{task.description}"), FileSizeColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(doing, total=None)

        def passed(parts: Iterable[str]) -> Iterator[str]:
            size = 0
            for part in parts:
                yield part
                size += len(part)
                if size >= _SHOWN_BYTES:
                    bar.advance(task, size)
                    size = 0
            bar.update(task, advance=size, refresh=True)

        yield passed


@contextmanager
def shown_progress() -> Iterator[Progress | None]:
    """Show on stderr how far the block is, if that is a terminal; else give None."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)

        def show(doing: str, done: int, total: int) -> None:
            # Show each phase at least once, however short it is.
            begins = doing != bar.tasks[task].description
            bar.update(task, description=doing, completed=done, total=total or None, refresh=begins)

        yield show


@contextmanager
def shown_work(doing: str) -> Iterator[None]:
    """Says on stderr what goes on, while it does, if that is a terminal."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(doing):
        yield


class ShownAmount:
    """Where a bar shows how far it is, if it is shown."""

    def __init__(self, show: Callable[[int], None] | None) -> None:
        self._show = show
        self._before = 0

    def within(self, read: int) -> None:
        """So much of the source was read."""
        if self._show is not None:
            self._show(self._before + read)

    def complete(self, size: int) -> None:
        """Another source of so many bytes was read."""
        self._before += size
        self.within(0)


@contextmanager
def shown_amount(total: int) -> Iterator[ShownAmount]:
    """A bar on stderr with a rate and a rest, if that is a terminal and there is something to do."""
    if not (total and sys.stderr.isatty()):
        yield ShownAmount(None)
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    columns: list[Any] = [DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()]
    if console.width >= _ROOM_FOR_A_BAR:
        columns.insert(0, BarColumn())
    with Bar(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=total)
        yield ShownAmount(lambda done: bar.update(task, completed=min(done, total)))
