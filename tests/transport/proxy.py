"""A proxy made of the transport alone: ``proxy.py RECORD COMMAND…`` starts an agent that speaks by lines, forwards
messages between it and the client on stdin and stdout, and records them. A broken message goes no further: its sender
gets an error.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import IO

from echo import MAX_BYTES, checked_message, flushed, refusal

from mandrake_sessions.transport.channel import Channel
from mandrake_sessions.transport.framing import Frame, Framer, LineFramer
from mandrake_sessions.transport.jsonrpc import BrokenMessage
from mandrake_sessions.transport.reader import frame_size
from mandrake_sessions.transport.standard_streams import claim_standard_streams, open_standard_streams


class Side:
    """One of the two channels, and its listener. ``other``: where its messages go."""

    other: Side

    def __init__(self, name: str, fd_in: int, fd_out: int, record: IO[str], framer: Framer | None = None) -> None:
        self.channel = Channel(fd_in, fd_out, MAX_BYTES, self, framer)
        self.ended = asyncio.get_running_loop().create_future()
        self._name = name
        self._record = record

    def on_framing(self, framer: Framer) -> None:
        # Before this one has said how it speaks, nothing can be forwarded to it.
        if self._name == "client":
            self.other.channel.reader.start()

    def on_frames(self, frames: list[Frame]) -> None:
        there = self.other.channel.outbound
        for frame in frames:
            self._forward(frame)
            self.channel.reader.done(frame_size(frame))
        there.flush()
        self.channel.outbound.flush()
        self.channel.reader.pause(there.is_full)

    def _forward(self, frame: Frame) -> None:
        try:
            message = checked_message(frame)
        except BrokenMessage as broken:
            self.channel.outbound.send(refusal(broken))
            return
        self._record.write(json.dumps({"from": self._name, "message": message}) + "\n")
        self.other.channel.outbound.send(message)

    def on_input_end(self) -> None:
        self._end()

    def on_drained(self) -> None:
        self.other.channel.reader.pause(False)

    def on_output_end(self) -> None:
        self._end()

    def _end(self) -> None:
        if not self.ended.done():
            self.ended.set_result(None)


async def main(record_path: Path, command: list[str]) -> int:
    open_standard_streams()
    stdin, stdout = claim_standard_streams()
    with (
        record_path.open("w") as record,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as agent_process,
    ):
        assert agent_process.stdin is not None
        assert agent_process.stdout is not None
        pipes = agent_process.stdout.fileno(), agent_process.stdin.fileno()
        client = Side("client", stdin, stdout, record)
        agent = Side("agent", *pipes, record, LineFramer(MAX_BYTES))
        client.other, agent.other = agent, client
        client.channel.reader.start()
        await client.ended
        await flushed(agent.channel)
        agent_process.stdin.close()
        await agent.ended
        await flushed(client.channel)
        return agent_process.wait()


if __name__ == "__main__":
    sys.exit(asyncio.run(main(Path(sys.argv[1]), sys.argv[2:])))
