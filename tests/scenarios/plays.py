"""The conversations of the chapters in docs/protocol/, by the name that a chapter calls them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from locking import WRITE_LOCK, holding
from scenarios.stage import GIVEN, Player, Stage

SCENARIOS: dict[str, Callable[[Stage], None]] = {}
SESSION, ROUND, TURN = (f"{GIVEN}{number:012x}" for number in (0xA, 0xB, 0xD))


def _scenario(play: Callable[[Stage], None]) -> Callable[[Stage], None]:
    SCENARIOS[play.__name__.replace("_", "-")] = play
    return play


def _conversation(player: Player) -> tuple[str, str]:
    """A session with a round, made before the exchange begins; gives the ids of the session and the response."""
    session = player.wire.request("session/create", title="A talk")["id"]
    made = player.wire.request("round/create", sessionId=session, content="What is in here?")
    return session, made["response"]["id"]


@_scenario
def starting_lines(stage: Stage) -> None:
    with stage.player() as client:
        session = client.asks("session/create", title="A talk")["id"]
        client.asks("round/create", sessionId=session, content="What is in here?")


@_scenario
def starting_initialize(stage: Stage) -> None:
    with stage.player("A", "headers") as client:
        client.asks("initialize", processId=None, rootUri=None, capabilities={})
        client.notifies("initialized")
        client.asks("session/list")
        client.asks("shutdown")
        client.notifies("exit")
        client.wire.process.wait(20)


@_scenario
def streaming(stage: Stage) -> None:
    with stage.player() as client:
        _, response = _conversation(client)
        turn = client.asks("turn/create", responseId=response, model="m")["id"]
        client.asks("turn/append", turnId=turn, chunk=0, content="A few ")
        client.asks("turn/append", turnId=turn, chunk=1, content="files.")
        client.asks("turn/update", turnId=turn, status="completed", outputTokens=3)
        client.asks("response/update", responseId=response, status="completed", stopReason="end_turn")


@_scenario
def order_batch(stage: Stage) -> None:
    with stage.player() as client:
        client.sends(
            [
                {"jsonrpc": "2.0", "id": 1, "method": "session/create", "params": {"id": SESSION}},
                {"jsonrpc": "2.0", "method": "session/update", "params": {"sessionId": SESSION, "title": "A talk"}},
                {"jsonrpc": "2.0", "id": 2, "method": "session/get", "params": {"sessionId": SESSION}},
            ]
        )
        client.hears_anything()


@_scenario
def order_cancel(stage: Stage) -> None:
    with stage.player() as client:
        session, _ = _conversation(client)
        with holding(stage.workspace, WRITE_LOCK):
            waiting = client.posts("session/update", sessionId=session, title="Another")
            client.notifies("$/cancelRequest", id=waiting)
            client.gets(waiting)


@_scenario
def order_transaction(stage: Stage) -> None:
    with stage.player() as client:
        session, response = _conversation(client)
        rename: dict[str, Any] = {"method": "session/update", "params": {"sessionId": session, "title": "On files"}}
        end: dict[str, Any] = {"method": "response/update", "params": {"responseId": response, "status": "completed"}}
        unknown: dict[str, Any] = {"method": "turn/delete", "params": {"turnId": TURN}}
        client.asks("transaction/run", operations=[rename, end])
        client.asks("transaction/run", operations=[rename, unknown])


@_scenario
def retrying_create(stage: Stage) -> None:
    with stage.player() as client:
        client.asks("session/create", id=SESSION, title="A talk")
        stage.tells("A", "the answer was lost: send the same again")
        client.asks("session/create", id=SESSION, title="A talk")
        client.asks("session/create", id=SESSION, title="Another talk")


@_scenario
def retrying_append(stage: Stage) -> None:
    with stage.player() as client:
        _, response = _conversation(client)
        client.asks("turn/create", responseId=response, id=TURN)
        client.asks("turn/append", turnId=TURN, chunk=0, content="A few ")
        stage.tells("A", "the answer was lost: send the same again")
        client.asks("turn/append", turnId=TURN, chunk=0, content="A few ")
        client.asks("turn/append", turnId=TURN, chunk=2, content="here.")
        client.asks("turn/append", turnId=TURN, chunk=0, content="Some ")
        client.notifies("turn/append", turnId=TURN, chunk=7, content="here.")
        client.hears("turn/rejected")


@_scenario
def subscribing(stage: Stage) -> None:
    with stage.player("A") as watcher, stage.player("B") as agent:
        session, response = _conversation(agent)
        watcher.asks("turn/subscribe", sessionId=session)
        turn = agent.asks("turn/create", responseId=response, content="A ")["id"]
        watcher.hears("turn/updated")
        agent.asks("turn/append", turnId=turn, content="few ")
        watcher.hears("turn/updated")
        agent.asks("toolCall/upsert", turnId=turn, toolCall={"id": "call-1", "title": "ls"})
        watcher.hears("turn/updated")
        agent.asks("turn/update", turnId=turn, status="completed")
        watcher.hears("turn/updated")
        agent.asks("session/delete", sessionId=session)
        watcher.hears("turn/updated")
        watcher.hears("subscription/ended")


@_scenario
def subscribing_join(stage: Stage) -> None:
    with stage.player() as client:
        session, response = _conversation(client)
        turn = client.wire.request("turn/create", responseId=response, content="A few ")["id"]
        read = client.asks("session/history", sessionId=session)
        stage.tells("A", "meanwhile somebody appends to the turn")
        client.wire.request("turn/append", turnId=turn, content="files.")
        client.asks("turn/subscribe", sessionId=session, since=read["seq"], storeId=read["storeId"])
        client.hears("turn/updated")


@_scenario
def subscribing_sessions(stage: Stage) -> None:
    with stage.player() as client:
        client.asks("session/subscribe")
        session = client.asks("session/create", title="A talk")["id"]
        client.hears("session/updated")
        client.asks("round/create", sessionId=session, content="What is in here?")
        client.hears("session/updated")


@_scenario
def resuming(stage: Stage) -> None:
    with stage.player() as client:
        _, response = _conversation(client)
        turn = client.wire.request("turn/create", responseId=response, detached=True)["id"]
        begun = client.asks("turn/subscribe", turnId=turn)
        client.wire.request("turn/append", turnId=turn, content="A few ")
        seen = client.hears("turn/updated")["params"]["seq"]
    stage.tells("A", "its server ends; meanwhile somebody appends; A starts another server")
    with stage.player("C") as other:
        other.wire.request("turn/append", turnId=turn, content="files.")
    with stage.player() as client:
        client.asks("turn/subscribe", turnId=turn, since=seen, storeId=begun["storeId"])
        client.hears("turn/updated")


@_scenario
def resuming_reset(stage: Stage) -> None:
    with stage.player() as client:
        _, response = _conversation(client)
        turn = client.wire.request("turn/create", responseId=response, content="A few ", detached=True)["id"]
        client.asks("turn/subscribe", turnId=turn, since=1, storeId="01890a5d-ac96-774b-bcce-b302099a8057")


@_scenario
def leases(stage: Stage) -> None:
    with stage.player("B", "lines", "--lease-seconds", "1") as watcher:
        with stage.player("A") as agent:
            session, response = _conversation(agent)
            turn = agent.asks("turn/create", responseId=response, content="A few ")["id"]
            watcher.asks("session/subscribe", sessionId=session)
            watcher.asks("turn/subscribe", sessionId=session)
            stage.tells("A", "its server is killed, with -9")
            agent.wire.kill()
        watcher.hears("turn/updated")
        while (told := watcher.wire.notification("session/updated"))["session"]["state"] != "failed":
            assert told["kind"] in ("updated", "responseUpdated")
        watcher.wire.let_be("session/updated")
        watcher.asks("response/get", responseId=response)
        watcher.asks("turn/append", turnId=turn, content="files.")
        watcher.hears("turn/updated")
        watcher.hears("turn/updated")
        watcher.asks("turn/update", turnId=turn, status="completed")
        watcher.hears("turn/updated")


@_scenario
def paging(stage: Stage) -> None:
    with stage.player() as client:
        for title in ("One", "Two", "Three"):
            client.wire.request("session/create", title=title)
        first = client.asks("session/list", limit=2)
        client.asks("session/list", limit=2, cursor=first["nextCursor"])
        client.asks("session/list", limit=2, query="one", cursor=first["nextCursor"])


@_scenario
def errors(stage: Stage) -> None:
    with stage.player() as client:
        session, _ = _conversation(client)
        client.asks("session/creates", title="A talk")
        client.asks("session/create", titel="A talk")
        client.asks("session/list", limit=5000)
        client.asks("turn/get", turnId=TURN)
        client.asks("session/create", workspace="file:///home/ada/elsewhere")
        client.asks("turn/update", turnId=_ended(client, session), content="More.")


def _ended(client: Player, session: str) -> str:
    made = client.wire.request("round/create", sessionId=session, content="?")
    turn = client.wire.request("turn/create", responseId=made["response"]["id"], status="completed")
    return str(turn["id"])


@_scenario
def errors_broken(stage: Stage) -> None:
    with stage.player() as client:
        stage.tells("A", 'it sends {"jsonrpc": "2.0", "id": 1, "method": "session/list" without its end')
        client.wire.send_bytes(b'{"jsonrpc": "2.0", "id": 1, "method": "session/list"\n')
        client.hears_anything()
        client.sends({"jsonrpc": "2.0", "id": 2, "params": {}})
        client.hears_anything()


@_scenario
def errors_busy(stage: Stage) -> None:
    with stage.player("A", "lines", "--busy-timeout", "0.3") as client:
        session, _ = _conversation(client)
        with holding(stage.workspace, WRITE_LOCK):
            client.asks("session/update", sessionId=session, title="Another")


@_scenario
def errors_storage(stage: Stage) -> None:
    home = stage.workspace / "home"
    home.rmdir()
    home.write_text("a file")
    with stage.player() as client:
        client.wire.let_be("server/healthChanged")
        client.asks("session/create", scope="system")
