"""The agent: a program of its own that answers one question, without a language model.

``python -m mandrake_sessions.demo.agent --workspace PATH --session UUID [--speed FACTOR]``. Its stdin is its leash:
at the end of it the agent stops, so that it never outlives whoever started it.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
from pathlib import Path

from mandrake_sessions.demo import words
from mandrake_sessions.demo.choice import missing_readme, worth_reading
from mandrake_sessions.demo.client import Client, ServerFailed
from mandrake_sessions.demo.streaming import Called, Cancelled, Pace, streaming_turn
from mandrake_sessions.demo.tools import Document, clean, list_directory, read_file


def main() -> int:
    """Run the agent; gives its exit code: 0, 1 for a failure, which stderr explains, and 130 if it was stopped."""
    parser = argparse.ArgumentParser(prog="agent")
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--session", required=True)
    parser.add_argument("--speed", type=float, default=1.0)
    options = parser.parse_args()
    stop = threading.Event()
    threading.Thread(target=_watch_leash, args=(stop,), daemon=True).start()
    try:
        with Client(options.workspace) as client:
            converse(client, options.session, options.workspace, Pace(options.speed, stop))
    except (ServerFailed, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except (Cancelled, KeyboardInterrupt):
        return 130
    return 0


def converse(client: Client, session_id: str, workspace: Path, pace: Pace) -> None:
    """One session with one round: the question, and the answer as it comes to be."""
    title = f"What is in {_name(workspace)}?"
    client.request("session/create", id=session_id, title=title, metadata={"demo": True})
    created = client.request("round/create", sessionId=session_id, content=words.QUESTION)
    response_id = created["response"]["id"]
    try:
        answer(client, response_id, workspace, pace)
    except Cancelled:
        client.request("response/update", responseId=response_id, status="cancelled")
        raise
    except OSError:
        client.request("response/update", responseId=response_id, status="error")
        raise
    client.request("response/update", responseId=response_id, status="completed", stopReason="end_turn")


def answer(client: Client, response_id: str, workspace: Path, pace: Pace) -> None:
    """Think, look, read, tell. What is said after a tool call is a new turn, so that the order is kept."""
    with streaming_turn(client, response_id, pace, kind="thought") as turn:
        turn.say(words.THOUGHT)

    with streaming_turn(client, response_id, pace) as turn:
        turn.say(words.LISTING)
        listing = turn.call("list", list_directory, workspace, ".")
        if isinstance(listing, Called):
            raise OSError(f"{clean(str(workspace))} could not be listed: {listing.error}")

    chosen = worth_reading(listing)
    wished, language = missing_readme(workspace)
    with streaming_turn(client, response_id, pace) as turn:
        turn.say(words.plan(listing, chosen, language))
        read = [turn.call(f"read-{number}", read_file, workspace, path) for number, path in enumerate(chosen, 1)]
        wish = turn.call("read-wish", read_file, workspace, wished)

    documents = [document for document in read if isinstance(document, Document)]
    failure = wish.error if isinstance(wish, Called) else None
    with streaming_turn(client, response_id, pace) as turn:
        turn.say(words.summary(_name(workspace), listing, documents, language, failure))


def _name(workspace: Path) -> str:
    return clean(workspace.name) or "/"


def _watch_leash(stop: threading.Event) -> None:
    # Not through sys.stdin: a thread that holds its lock when the program ends would abort it.
    while os.read(0, 1024):
        pass
    stop.set()


if __name__ == "__main__":
    sys.exit(main())
