"""A round whose request is a command, and whose response is what the program said: a turn for each of its outputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from attrs import define, field, frozen

from mandrake_sessions.commands.filling_turns import FillingTurns
from mandrake_sessions.commands.recording.program import Output
from mandrake_sessions.commands.recording.terminal_text import Said, TerminalText
from mandrake_sessions.fields import PLAIN, NewRound, NewSession, NewTurn, Piece
from mandrake_sessions.ids import new_id
from mandrake_sessions.manager import SessionManager
from mandrake_sessions.model import ResponseStatus, TurnStatus

# Characters of a raw text that is stored in hindsight, in one piece of it.
_SLICE: Final = 1024 * 1024


@frozen
class Ending:
    """How a program ended: its exit code as a shell tells it, and what became of its turns. ``is_whole``: all that it
    said is in them."""

    code: int
    status: TurnStatus
    error: str | None = None
    is_whole: bool = True


@define(eq=False)
class _Stream:
    """What is stored of one output. ``has_raw``: its turn has codes, so it has the output as it came beside the
    text."""

    output: Output
    turns: FillingTurns
    decoder: TerminalText = field(factory=TerminalText)
    has_raw: bool = False


class KeptRound:
    """``make``, ``keep`` and ``end`` write to the store, and raise what that raises; after Busy nothing was written,
    and the same call can be made again. ``session_id``: the session that it is in; a new one if it was not given."""

    def __init__(self, manager: SessionManager, session_id: str | None, session: NewSession, asked: NewRound) -> None:
        self._manager = manager
        self._session: NewSession | None = {**session, "id": new_id()} if session_id is None else None
        self.session_id = session_id if self._session is None else self._session["id"]
        self._round: NewRound = {**asked, "id": new_id(), "response_id": new_id()}
        self._streams: dict[Output, _Stream] = {}
        self._empty_turn_id = new_id()

    def make(self) -> None:
        """The session, unless there is one, and the round."""
        with self._manager.transaction():
            if self._session is not None:
                self._manager.create_session(**self._session)
            assert self.session_id is not None
            self._manager.create_round(self.session_id, **self._round)

    def said(self, output: Output, data: bytes, *, final: bool = False) -> Said:
        """The next part of an output, as ``keep`` takes it. A part is asked for once."""
        return self._stream(output).decoder.feed(data, final=final)

    def rests(self) -> dict[Output, Said]:
        """What the outputs held back until their end."""
        return {output: self.said(output, b"", final=True) for output in self._streams}

    def keep(self, output: Output, said: Said) -> None:
        """Store a part of an output, in a turn that begins with the first of them.

        The raw output is stored beside the text from the first part on in which the two differ, with what was before:
        until then one follows from the other.
        """
        if not said.raw:
            return
        stream = self._stream(output)
        # Of the raw output, whether it is stored or not: it may have to be.
        size = len(said.raw.encode())
        had_raw = stream.has_raw and not stream.turns.begins(size)
        has_raw = had_raw or said.raw != said.text.replace("\n", output.plain_end)
        piece: Piece = {"content": said.text, "raw_response": said.raw} if has_raw else {"content": said.text}
        is_first_raw = has_raw and not had_raw and not stream.turns.begins(size)
        stream.turns.add(size, [*(self._raw_before(stream) if is_first_raw else []), piece])
        stream.has_raw = has_raw

    def mark(self, error: str) -> None:
        """The turns and the response end, with this error about what is missing, though the program goes on."""
        with self._manager.transaction():
            self._end_turns(TurnStatus.ERROR, error, is_whole=False)

    def end(self, ending: Ending) -> None:
        """The turns, the response and the round end as the program did."""
        with self._manager.transaction():
            self._end_turns(ending.status, ending.error, is_whole=ending.is_whole)
            metadata = {**self._round["metadata"], "exitCode": ending.code}
            self._manager.update_round(self._round["id"], metadata=metadata)

    def _end_turns(self, status: TurnStatus, error: str | None, *, is_whole: bool) -> None:
        found = [stream.turns.turn_id for stream in self._streams.values()]
        ids = [turn_id for turn_id in found if turn_id is not None]
        if not is_whole and not ids:
            # A response has no error; a turn tells it, though nothing else is in it.
            ids = [self._manager.create_turn(self._round["response_id"], kind="message", id=self._empty_turn_id).id]
        for turn_id in ids:
            self._manager.update_turn(turn_id, include_text=False, status=status, error=error)
        self._manager.update_response(self._round["response_id"], status=ResponseStatus(status))

    def _stream(self, output: Output) -> _Stream:
        if output not in self._streams:
            fields: NewTurn = {"kind": output.kind, "metadata": {**PLAIN}}
            self._streams[output] = _Stream(output, FillingTurns(self._manager, self._round["response_id"], **fields))
        return self._streams[output]

    def _raw_before(self, stream: _Stream) -> list[Piece]:
        """What was said until now, as it came; it is in the store, and not held."""
        assert stream.turns.turn_id is not None
        text = self._manager.get_turn(stream.turns.turn_id).content or ""
        raw = text.replace("\n", stream.output.plain_end)
        return [{"raw_response": raw[start : start + _SLICE]} for start in range(0, len(raw), _SLICE)]


def asked(command: str, metadata: Mapping[str, Any], prompt: str | None) -> NewRound:
    """The round's fields. ``command``: what was typed, the request where there is no other."""
    plain = PLAIN if prompt is None else {}
    return {"content": command if prompt is None else prompt, "metadata": {**metadata, **plain}}
