"""The agent: a program of its own that answers one question, without a language model.

``python -m mandrake_sessions.demo.agent --workspace PATH --session UUID [--speed FACTOR]``. Its stdin is its leash:
at the end of it the agent stops, so that it never outlives whoever started it.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import threading
from contextlib import suppress
from pathlib import Path

from mandrake_sessions.client import Client, ClientError
from mandrake_sessions.demo import words
from mandrake_sessions.demo.choice import missing_readme, worth_reading
from mandrake_sessions.demo.streaming import Called, Cancelled, Pace, streaming_turn
from mandrake_sessions.demo.tools import Document, clean, list_directory, read_file
from mandrake_sessions.model import ResponseStatus

REPLY_SECONDS = 30.0


def main() -> int:
    """Run the agent; gives its exit code: 0, 1 for a failure, which stderr explains, and 130 if it was stopped."""
    parser = argparse.ArgumentParser(prog="agent")
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--session", required=True)
    parser.add_argument("--speed", type=float, default=1.0)
    options = parser.parse_args()
    try:
        asyncio.run(_run(options))
    except (ClientError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except (Cancelled, KeyboardInterrupt):
        return 130
    return 0


async def _run(options: argparse.Namespace) -> None:
    stop = asyncio.Event()
    threading.Thread(target=_watch_leash, args=(asyncio.get_running_loop(), stop), daemon=True).start()
    async with Client(options.workspace, timeout=REPLY_SECONDS) as client:
        await converse(client, options.session, options.workspace, Pace(options.speed, stop))


async def converse(client: Client, session_id: str, workspace: Path, pace: Pace) -> None:
    """One session with one round: the question, and the answer as it comes to be."""
    title = f"What is in {_name(workspace)}?"
    await client.session_create(id=session_id, title=title, metadata={"demo": True})
    created = await client.round_create(session_id=session_id, content=words.QUESTION)
    response_id = created.response.id
    try:
        await answer(client, response_id, workspace, pace)
    except Cancelled:
        await client.response_update(response_id=response_id, status=ResponseStatus.CANCELLED)
        raise
    except OSError:
        await client.response_update(response_id=response_id, status=ResponseStatus.ERROR)
        raise
    await client.response_update(response_id=response_id, status=ResponseStatus.COMPLETED, stop_reason="end_turn")


async def answer(client: Client, response_id: str, workspace: Path, pace: Pace) -> None:
    """Think, look, read, tell. What is said after a tool call is a new turn, so that the order is kept."""
    async with streaming_turn(client, response_id, pace, kind="thought") as turn:
        await turn.say(words.THOUGHT)

    async with streaming_turn(client, response_id, pace) as turn:
        await turn.say(words.LISTING)
        listing = await turn.call("list", list_directory, workspace, ".")
        if isinstance(listing, Called):
            raise OSError(f"{clean(str(workspace))} could not be listed: {listing.error}")

    chosen = worth_reading(listing)
    wished, language = missing_readme(workspace)
    async with streaming_turn(client, response_id, pace) as turn:
        await turn.say(words.plan(listing, chosen, language))
        read = [await turn.call(f"read-{number}", read_file, workspace, path) for number, path in enumerate(chosen, 1)]
        wish = await turn.call("read-wish", read_file, workspace, wished)

    documents = [document for document in read if isinstance(document, Document)]
    failure = wish.error if isinstance(wish, Called) else None
    async with streaming_turn(client, response_id, pace) as turn:
        await turn.say(words.summary(_name(workspace), listing, documents, language, failure))


def _name(workspace: Path) -> str:
    return clean(workspace.name) or "/"


def _watch_leash(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    # Not through sys.stdin: a thread that holds its lock when the program ends would abort it.
    while os.read(0, 1024):
        pass
    # The loop is closed where the agent has said all.
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(stop.set)


if __name__ == "__main__":
    sys.exit(main())
