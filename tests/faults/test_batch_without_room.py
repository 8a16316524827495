"""A batch is answered once, though its answers fit neither into a file nor into memory."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from wire import Conversation, serving

MIB = 1024 * 1024
# What an answer may take in memory where there is no file for it; the same as in `transport/spool.py`.
IN_MEMORY = 64 * MIB
# No file may grow beyond 2 MiB.
LIMITED = ("/bin/sh", "-c", f'ulimit -f 4096; exec "{sys.executable}" -m mandrake_sessions serve')


@pytest.mark.skipif(os.name == "nt", reason="there is no limit of a file's length")
@pytest.mark.parametrize("room", [-1, 0, 1])
def test_answers_that_just_fit_or_just_do_not(workspace: Path, room: int) -> None:
    """The bracket that ends the batch is the first byte, or the last, that fits."""
    with serving(workspace) as wire:
        conversation = Conversation(wire)
        turn = conversation.turn(content="x" * (8 * MIB - 4096))
    with serving(workspace, command=LIMITED) as wire:
        one = {"jsonrpc": "2.0", "id": 1, "result": wire.request("turn/get", turnId=turn)}
        size = len(json.dumps(one, separators=(",", ":")))
        # Two brackets, and a comma between two answers. Quotes stand around the last id, where 1 had one digit.
        left = IN_MEMORY + room - (8 * size + 7 + 2) - 1
        assert 0 < left < MIB
        ids: list[Any] = [*range(1, 8), "y" * left]
        wire.send([{"jsonrpc": "2.0", "id": n, "method": "turn/get", "params": {"turnId": turn}} for n in ids])
        answers = wire.wait_for(lambda m: isinstance(m, list), 60)
        assert sorted((answer["id"] for answer in answers), key=str) == ids
        assert ["error" if room > 0 else "result" for _ in ids] == [_outcome(answer) for answer in answers]
        wire.request("session/list")


def _outcome(answer: dict[str, Any]) -> str:
    return "error" if "error" in answer else "result"
