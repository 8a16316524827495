"""The display for pipes and logs: it prints every piece as it arrives, and never redraws."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console

from mandrake_sessions.demo.display import call_text, printable, status_text
from mandrake_sessions.demo.watched import Watched
from mandrake_sessions.model import ToolCall, Turn, TurnStatus


class PlainDisplay:
    """Remembers what it has printed, and prints the rest."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._asked = False
        self._printed: dict[str, int] = {}
        self._ended: set[str] = set()
        self._calls: dict[tuple[str, str], str] = {}

    def __enter__(self) -> PlainDisplay:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            # The explanation must not follow half a sentence.
            self._write("\n")

    def show(self, watched: Watched) -> None:
        if watched.question and not self._asked:
            self._asked = True
            self._write(f"> {watched.question}\n")
        for turn in watched.turns:
            self._show_turn(turn)

    def finish(self, watched: Watched) -> None:
        self.show(watched)
        self._write(f"\n{status_text(watched)}\n")

    def _show_turn(self, turn: Turn) -> None:
        turn_id, content = turn.id, turn.content or ""
        if turn_id not in self._printed:
            self._printed[turn_id] = 0
            self._write(f"\n[{turn.kind}]\n")
        self._write(printable(content[self._printed[turn_id] :]))
        self._printed[turn_id] = len(content)
        for call in turn.tool_calls:
            self._show_call(turn_id, call)
        if turn.status is not TurnStatus.STREAMING and turn_id not in self._ended:
            self._ended.add(turn_id)
            ending = "" if turn.status is TurnStatus.COMPLETED else f"[{turn.status}]\n"
            self._write(("" if turn.tool_calls else "\n") + ending)

    def _show_call(self, turn_id: str, call: ToolCall) -> None:
        known = self._calls.get((turn_id, call.id))
        if known == call.status:
            return
        self._calls[turn_id, call.id] = call.status
        # The first call of a turn ends the line of its text.
        before = "\n" if known is None and call.id == self._first_call(turn_id) else ""
        self._write(f"{before}{call_text(call)} [{call.status}]\n")

    def _first_call(self, turn_id: str) -> str:
        return next(call_id for known, call_id in self._calls if known == turn_id)

    def _write(self, text: str) -> None:
        if text:
            self._console.file.write(text)
            self._console.file.flush()
