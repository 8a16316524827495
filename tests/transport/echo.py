"""A JSON-RPC peer made of the transport alone: it answers each request with its params, until its input ends.

``modules`` gives the modules of the package that are loaded.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from mandrake_sessions.transport.channel import Channel
from mandrake_sessions.transport.errors import invalid_request
from mandrake_sessions.transport.framing import Frame, Framer
from mandrake_sessions.transport.jsonrpc import (
    BrokenMessage,
    decode_frame,
    envelope_fault,
    error_message,
    is_id,
    result_message,
)
from mandrake_sessions.transport.reader import frame_size
from mandrake_sessions.transport.standard_streams import claim_standard_streams, open_standard_streams

MAX_BYTES = 1 << 20
FLUSH_LOOK = 0.005


class Echo:
    """The listener of the one channel."""

    def __init__(self, stdin: int, stdout: int) -> None:
        self.channel = Channel(stdin, stdout, MAX_BYTES, self)
        self.ended = asyncio.get_running_loop().create_future()
        self.channel.reader.start()

    def on_framing(self, framer: Framer) -> None:
        print(f"the peer speaks by {framer.name}", flush=True)

    def on_frames(self, frames: list[Frame]) -> None:
        outbound, reader = self.channel.outbound, self.channel.reader
        for frame in frames:
            if (answer := _answer(frame)) is not None:
                outbound.send(answer)
            reader.done(frame_size(frame))
        outbound.flush()
        reader.pause(outbound.is_full)

    def on_input_end(self) -> None:
        self._end()

    def on_drained(self) -> None:
        self.channel.reader.pause(False)

    def on_output_end(self) -> None:
        self._end()

    def _end(self) -> None:
        if not self.ended.done():
            self.ended.set_result(None)


def checked_message(frame: Frame) -> Any:
    """The message in a frame. Raises BrokenMessage."""
    message = decode_frame(frame, MAX_BYTES)
    if (fault := envelope_fault(message)) is not None:
        found = message.get("id") if isinstance(message, dict) else None
        raise BrokenMessage(invalid_request(fault), found if is_id(found) else None)
    return message


def refusal(broken: BrokenMessage) -> dict[str, Any]:
    """The reply to a message that is broken."""
    return error_message(broken.id, {"code": broken.error.code, "message": str(broken)})


def _answer(frame: Frame) -> dict[str, Any] | None:
    try:
        message = checked_message(frame)
    except BrokenMessage as broken:
        return refusal(broken)
    if "id" not in message or "method" not in message:
        return None
    if message["method"] == "modules":
        return result_message(message["id"], sorted(name for name in sys.modules if name.startswith("mandrake")))
    return result_message(message["id"], message.get("params"))


async def flushed(channel: Channel) -> None:
    """Wait until the peer has read all, or is gone."""
    while not channel.outbound.is_empty:
        await asyncio.sleep(FLUSH_LOOK)


async def main() -> None:
    open_standard_streams()
    echo = Echo(*claim_standard_streams())
    await echo.ended
    await flushed(echo.channel)


if __name__ == "__main__":
    asyncio.run(main())
