"""A made-up conversation for pictures: each kind of thing that a page shows, and nothing of anybody."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mandrake_sessions import SessionManager
from mandrake_sessions.model import Relation, ResponseStatus, Session, TurnStatus

_BEGAN = 1_790_000_000_000
_MODEL = "example-large-2"
_FETCH = """\


def fetch(url: str) -> bytes:
    for attempt in range(10):
        try:
            return get(url)
        except Timeout:
            sleep(wait(attempt))
    raise GaveUp(url)
"""
_OLD = (
    """\
def wait(attempt: int) -> float:
    return 2 ** attempt
"""
    + _FETCH
)
_NEW = (
    """\
# No wait is longer, in seconds.
LONGEST = 30.0


def wait(attempt: int) -> float:
    \"\"\"Up to the bound, and never the same for two clients.\"\"\"
    return random.uniform(0, min(LONGEST, 2 ** attempt))
"""
    + _FETCH
)
_ANSWER = """\
The wait doubles without a bound, so the tenth attempt sleeps for **over eight minutes**. And since every client waits
the same time, all of them come back *at once*.

I changed two things:

1. A wait is never longer than `LONGEST`, 30 seconds.
2. It is a random part of that bound ("full jitter").

| attempt | before | now, at most |
|--------:|-------:|-------------:|
| 1 | 1 s | 1 s |
| 5 | 16 s | 16 s |
| 10 | 512 s | 30 s |

```python
def wait(attempt: int) -> float:
    \"\"\"Up to the bound, and never the same for two clients.\"\"\"
    return random.uniform(0, min(LONGEST, 2 ** attempt))
```

> A retry is a promise to the server that you will be patient.

The test for it still fails; see below.
"""
_THOUGHT = """\
The wait is `2 ** attempt` without any bound. Attempt 9 gives 512 seconds. There is no jitter either, so clients that
failed together retry together. Full jitter is the simplest remedy: a uniform wait between zero and the bound. I should
also look at who calls `wait`, since a random result would break a test that expects a number. `tests/test_fetch.py` has
`assert wait(3) == 8`. That has to become a range. I will ask a helper to look for further callers while I edit.
"""
_FAILED = """\
\x1b[1mtests/test_fetch.py\x1b[0m \x1b[31mF\x1b[0m..                                     [100%]

    def test_wait():
>       assert wait(3) == 8
E       assert 5.31 == 8

\x1b[31mFAILED\x1b[0m tests/test_fetch.py::test_wait - assert 5.31 == 8
1 failed, 2 passed in 0.31s
"""
_SCRIPTS = """\
Both, as you asked. On a command line:

```sh
for n in 1 2 3; do
  curl --retry 5 --retry-max-time 30 "https://api.example.org/items/$n" || exit 1
done
```

and in a browser:

```js
// Resolves after a random part of the bound.
export const pause = (attempt) =>
  new Promise((done) => setTimeout(done, Math.random() * Math.min(30_000, 1000 * 2 ** attempt)));
```

- `--retry-max-time` bounds the whole, not one wait
- [the manual](https://example.org/manual) says which errors count as passing
  - timeouts do
  - ~~all of 4xx~~ just 408 and 429 do
"""


def make(database: Path) -> Session:
    """The store with the session, a subagent and a fork of it."""
    database.parent.mkdir(parents=True, exist_ok=True)
    with SessionManager(database) as manager, manager.transaction(at=_BEGAN):
        session = manager.create_session(
            title="Retries that do not come back all at once",
            agent="example-agent",
            cwd="/srv/fetcher",
            external_id="talk-41",
            description="The fetcher hammers the service after each of its restarts.",
        )
        first = _first(manager, session.id)
        _second(manager, session.id)
        helper = manager.create_session(
            title="Who calls wait()?", agent="example-agent", cwd="/srv/fetcher", parent_id=session.id,
            relation=Relation.SUBAGENT, parent_tool_call_id="call-2",
        )  # fmt: skip
        asked = manager.create_round(helper.id, content="Find all callers of `wait` outside of the tests.")
        _say(manager, asked.response.id, "`fetch` alone, and one test.", 1)
        fork = manager.fork_session(session.id, through_round_id=first, title="The same with a fixed seed")
        manager.create_round(fork.id, content="Use a seeded generator instead.")
        _third(manager, session.id)
        return manager.get_session(session.id)


def _first(manager: SessionManager, session: str) -> str:
    made = manager.create_round(
        session,
        content="Look at `fetch.py`, please: after a restart of the service all clients retry in the same second.\n\n"
        "What is wrong with the waits, and can you mend it?",
        created_at=_BEGAN,
    )
    response = made.response.id
    _say(manager, response, _THOUGHT, 4, kind="thought", thought_tokens=131)
    steps = (("Bound the wait", "completed"), ("Add jitter", "in_progress"), ("Mend the test", "pending"))
    calls: list[dict[str, Any]] = [
        {"id": "call-0", "method_name": "update_plan", "status": "completed",
         "arguments": {"plan": [{"step": step, "status": status} for step, status in steps]}},
        {"id": "call-1", "method_name": "Read", "kind": "read", "title": "fetch.py", "status": "completed",
         "arguments": {"file_path": "fetch.py", "limit": 40}, "response": _OLD},
        {"id": "call-2", "method_name": "Task", "title": "Who calls wait()?", "status": "completed",
         "arguments": {"prompt": "Find all callers of `wait` outside of the tests."},
         "response": "`fetch` alone, and one test."},
        {"id": "call-3", "method_name": "Edit", "kind": "edit", "title": "fetch.py", "status": "completed",
         "arguments": {"file_path": "fetch.py"},
         "content": [{"type": "diff", "path": "fetch.py", "oldText": _OLD, "newText": _NEW}]},
    ]  # fmt: skip
    _say(manager, response, _ANSWER, 21, input_tokens=5210, output_tokens=412, cache_read_tokens=4096, cost=0.0213,
         tool_calls=calls)  # fmt: skip
    failed: list[dict[str, Any]] = [
        {"id": "call-4", "method_name": "Bash", "kind": "execute", "title": "Run the tests", "status": "failed",
         "arguments": {"command": "pytest tests/test_fetch.py -q", "timeout": 120_000}, "response": _FAILED},
    ]  # fmt: skip
    _say(manager, response, "The test expects the old number. It has to become a range:", 40, input_tokens=5890,
         output_tokens=77, cost=0.0187, tool_calls=failed)  # fmt: skip
    manager.update_response(made.response.id, status=ResponseStatus.COMPLETED)
    return made.round.id


def _second(manager: SessionManager, session: str) -> None:
    made = manager.create_round(
        session, content="How would I do the same in a *shell script*, and in the browser?", created_at=_BEGAN + 300_000
    )
    _say(manager, made.response.id, _SCRIPTS, 310, input_tokens=6120, output_tokens=298, cost=0.0172)
    manager.update_response(
        made.response.id, status=ResponseStatus.COMPLETED, usage={"context_used": 23_400, "context_size": 200_000}
    )


def _third(manager: SessionManager, session: str) -> None:
    made = manager.create_round(session, content="Now mend the test.", created_at=_BEGAN + 600_000)
    _say(manager, made.response.id, "I will let the test look at a hundred waits, and", 605, TurnStatus.ERROR,
         error="The service closed the connection.", input_tokens=7001, output_tokens=12, cost=0.0141)  # fmt: skip
    manager.update_response(made.response.id, status=ResponseStatus.ERROR)


def _say(
    manager: SessionManager,
    response: str,
    text: str,
    after: int,
    status: TurnStatus = TurnStatus.COMPLETED,
    **fields: Any,
) -> None:
    """``after``: seconds since the beginning."""
    error = fields.pop("error", None)
    at = _BEGAN + after * 1000
    usual: dict[str, Any] = {"model": _MODEL, "stream_start_time": at, "created_at": at, "stream_end_time": at + 2000}
    turn = manager.create_turn(response, content=text, status=status, **usual | fields)
    if error:
        manager.update_turn(turn.id, error=error)
