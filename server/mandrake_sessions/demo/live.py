"""The display for terminals: it prints finished turns, which scroll away, and redraws what still streams below them."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.padding import Padding
from rich.rule import Rule
from rich.segment import Segment
from rich.text import Text

from mandrake_sessions.demo.display import call_text, printable, status_text
from mandrake_sessions.demo.watched import Watched
from mandrake_sessions.model import Turn, TurnStatus

FRAMES_PER_SECOND = 20
# The terminal writes ^C at the cursor, which must not be at the start of a line that this program redraws.
ECHO_WIDTH = 3
SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"


class LiveDisplay:
    """Prints each finished turn once. It redraws the streaming turn and a line of figures again and again."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._begun = time.monotonic()
        self._drawn = 0.0
        self._asked = False
        self._finished: set[str] = set()
        self._unfinished: list[Turn] = []

    def __enter__(self) -> LiveDisplay:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.update("")
        self._live.stop()
        for turn in self._unfinished:
            self._console.print(_turn(turn))

    def show(self, watched: Watched) -> None:
        if watched.question and not self._asked:
            self._asked = True
            self._console.print(Text.assemble(("> ", "bold cyan"), (printable(watched.question), "bold")), "")
        for turn in watched.turns:
            if turn.status is not TurnStatus.STREAMING and turn.id not in self._finished:
                self._finished.add(turn.id)
                self._console.print(_turn(turn), "")
        self._unfinished = [turn for turn in watched.turns if turn.id not in self._finished]
        if time.monotonic() - self._drawn >= 1 / FRAMES_PER_SECOND:
            self._drawn = time.monotonic()
            self._live.update(self._frame(watched), refresh=True)

    def finish(self, watched: Watched) -> None:
        self.show(watched)
        self._live.update("", refresh=True)
        self._console.print(Text(f"{status_text(watched)} · watched for {self._elapsed():.1f} s", "dim"))

    def _frame(self, watched: Watched) -> RenderableType:
        turns = [_turn(turn, cursor=True) for turn in self._unfinished]
        spinner = SPINNER[int(self._elapsed() * 10) % len(SPINNER)]
        status = Text(f"{spinner} {status_text(watched)} · {self._elapsed():.1f} s", "cyan")
        status.truncate(max(1, self._console.width - ECHO_WIDTH), overflow="ellipsis")
        return Group(_Tail(Group(*turns), spare=3), Rule(style="dim"), status)

    def _elapsed(self) -> float:
        return time.monotonic() - self._begun


class _Tail:
    """The last lines of a renderable, a few less than the terminal has: the streaming text is at the end."""

    def __init__(self, inner: RenderableType, spare: int) -> None:
        self._inner = inner
        self._spare = spare

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines = console.render_lines(self._inner, options.update(height=None), pad=False)
        for line in lines[-max(1, console.height - self._spare) :]:
            yield from line
            yield Segment.line()


def _turn(turn: Turn, *, cursor: bool = False) -> RenderableType:
    """A turn: its text, dimmed if it is a thought, and its tool calls below it."""
    is_thought = turn.kind == "thought"
    text = Text(printable(turn.content or "").rstrip(), style="dim italic" if is_thought else "")
    if cursor and not turn.tool_calls:
        text.append("▌", "cyan")
    if turn.status not in (TurnStatus.STREAMING, TurnStatus.COMPLETED):
        text.append(f"  [{turn.status}]", "red")
    return Group(Padding(text, (0, 0, 0, 2)), *(Padding(call_text(call), (0, 0, 0, 2)) for call in turn.tool_calls))
