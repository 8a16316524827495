"""Servers that must do what the model does, over their pipes, with a restart in between."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from model.checking import Comparison
from model.operations import BEGINNING, Burst
from model.reference import WRITES
from model.targets import Follower, WireTarget
from wire import Framing, Message, Wire, serving

# What a power cut would lose is not tried here.
QUICK = ("--durability", "normal")


def compare_servers(workspace: Path, before: list[Burst], after: list[Burst], framing: Framing, **options: Any) -> None:
    """Each burst is sent without waiting for answers in between, and those of ``after`` to another server. A third one
    follows the store from the beginning on; a client of the second is sent the past again. ``options`` of ``serving``.
    """
    with serving(workspace, framing, *QUICK, **options) as watcher:
        watcher.request("turn/subscribe", includeRaw=True)
        sessions = watcher.request("session/subscribe")["subscriptionId"]
        with serving(workspace, framing, *QUICK, **options) as wire:
            compared = Comparison(WireTarget(wire))
            for burst in [*([operation] for operation in BEGINNING), *before]:
                compared.run(*burst)
            compared.end_copies()
            compared.compare_everything()
        with serving(workspace, framing, *QUICK, **options) as wire:
            compared.target = WireTarget(wire)
            compared.compare_everything()
            for burst in [*after, *([operation] for operation in BEGINNING[:2])]:
                compared.run(*burst)
            compared.end_copies()
            (last,) = compared.run(BEGINNING[2])
            compared.compare_everything()
            compared.compare_documents()
            _check_server(wire)
            _check_follower(compared, watcher, last["seq"])
            _check_sessions(compared, watcher, last["seq"])
            watcher.request("session/unsubscribe", subscriptionId=sessions)
            again = wire.request("turn/subscribe", since=0, includeRaw=True)
            assert again["reset"] is False
            _check_follower(compared, wire, last["seq"])
            wire.request("turn/unsubscribe", subscriptionId=again["subscriptionId"])


def _check_server(wire: Wire) -> None:
    """What it says of itself: that all is well, and every method of the contract."""
    assert wire.request("server/health")["status"] == "ok"
    info = wire.request("server/info")
    assert info["protocolVersion"] == 2
    described = {method["name"] for method in wire.request("rpc.discover")["methods"]}
    assert described == {*info["methods"]} > WRITES.keys() | {*info["calls"]}


def _check_follower(compared: Comparison, wire: Wire, seq: int) -> None:
    follower = Follower()
    for params in wire.notifications_until(seq):
        follower.apply(params)
    compared.compare_follower(follower)


def _check_sessions(compared: Comparison, wire: Wire, seq: int) -> None:
    """The sessions that were told are those that there are, each as it is."""
    sessions: dict[str, Message] = {}
    for params in wire.notifications_until(seq, "session/updated"):
        if params["kind"] == "deleted":
            sessions.pop(params["sessionId"], None)
        elif params.get("session") is not None:
            sessions[params["sessionId"]] = params["session"]
    every = list(compared.pages("session/list", "sessions", 50, archived=None))
    assert {session["id"]: session for session in every} == sessions
