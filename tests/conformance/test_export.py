"""``session/export`` on every kind of store: JSON lines give back everything, secrets go, the store stays as it is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given

from conformance.backends import Backend
from conformance.test_content import any_json, json_objects, long_texts, new_store
from exported import exact, read_back
from mandrake_sessions import SessionManager
from mandrake_sessions.errors import Conflict, InvalidValue, NotFound, TooLarge
from mandrake_sessions.exports import export_session
from mandrake_sessions.model import Export, TurnStatus
from mandrake_sessions.protocol.converter import unstructure
from model.profile import examples, patient
from wire import Failed, Wire

pytestmark = [patient, pytest.mark.usefixtures("long_integers")]

TOKEN = "ghp_oHwLMeaZqo9DZDNjN1GTPdVKsb1DS2S5yXB6"
AWS = "AKIAZ7QK3MXT5VBN2RWD"
KEY = "-----BEGIN RSA PRIVATE KEY-----\n" + "MIIEpAIBAAKCAQEA7\n" * 12 + "-----END RSA PRIVATE KEY-----"


def history(manager: SessionManager, session_id: str) -> dict[str, Any]:
    """Everything that the wire gives of a session."""
    rounds: list[Any] = []
    cursor = None
    while True:
        page = manager.history(session_id, include_raw=True, cursor=cursor)
        rounds += page.rounds
        if (cursor := page.next_cursor) is None:
            return {"session": unstructure(page.session), "rounds": unstructure(rounds)}


def export(manager: SessionManager, session_id: str, form: Any, redact: bool | None = None) -> Export:
    with manager.snapshot():
        return export_session(manager, session_id, form, redact)


@given(long_texts, long_texts, any_json, json_objects)
@examples(30)
def test_json_lines_give_back_everything(kind: type[Backend], asked: str, said: str, value: Any, meta: Any) -> None:
    with new_store(kind) as manager:
        session = manager.create_session(title=asked, metadata=meta, agent="an agent", cwd="/home/somebody")
        for number in range(2):
            made = manager.create_round(session.id, content=asked, blocks=[value], metadata=meta)
            calls: list[Any] = [{"id": said or "0", "arguments": value, "response": value, "metadata": meta}]
            turn = manager.create_turn(
                made.response.id,
                content=said,
                tool_calls=calls,
                cost=0.1 + number / 10**9,
                currency="EUR",
                metadata=meta,
            )
            manager.append_turn(turn.id, content=said or "0", raw_response=asked)
            manager.update_response(made.response.id, usage={"input_tokens": 2**62, "cost": 0.000000001})
        found = read_back(export(manager, session.id, "jsonl").content.splitlines())
        assert exact({"session": found["session"], "rounds": found["rounds"]}) == exact(history(manager, session.id))


def test_long_texts_stand_on_lines_of_a_bounded_length(manager: SessionManager) -> None:
    session = manager.create_session().id
    long = "é\x00\n\u2028" * 130_000
    made = manager.create_round(session, content=long[:280_000])
    turn = manager.create_turn(made.response.id, tool_calls=[{"id": str(n)} for n in range(3)])
    manager.append_turn(turn.id, content=long, raw_response=long[:280_000])
    content = export(manager, session, "jsonl").content
    found = read_back(content.splitlines())
    assert exact({"session": found["session"], "rounds": found["rounds"]}) == exact(history(manager, session))
    assert max(map(len, content.splitlines())) < 2_000_000
    assert content == export(manager, session, "jsonl").content


def test_more_rounds_than_a_page_holds(manager: SessionManager) -> None:
    session = manager.create_session().id
    with manager.transaction():
        for number in range(1003):
            manager.create_round(session, content=str(number))
    found = read_back(export(manager, session, "jsonl").content.splitlines())
    assert [each["request"]["content"] for each in found["rounds"]] == [str(n) for n in range(1003)]


@pytest.mark.parametrize("form", ["markdown", "html", "jsonl", "atif"])
def test_secrets_and_homes_are_replaced_wherever_they_stand(manager: SessionManager, form: str) -> None:
    session = manager.create_session(
        title=f"On {TOKEN}", cwd="/home/alice/src", metadata={f"k {AWS}": {"password": "x1"}}
    )
    made = manager.create_round(session.id, content=f"{KEY} is in C:\\Users\\alice\\key.pem", blocks=[{"text": TOKEN}])
    calls: list[Any] = [
        {"id": "1", "arguments": {"env": {"API_TOKEN": "a-word-like-9"}}, "response": json.dumps({"key": KEY})},
        {"id": "2", "content": [f"AK\\u0049A{AWS[4:]}"], "title": f"cat /Users/alice/{AWS}"},
    ]
    turn = manager.create_turn(made.response.id, tool_calls=calls, content=f"postgres://alice:hunter2@db/x {AWS}")
    raw = json.dumps({"deep": json.dumps({"home": "/home/alice/x", "pem": KEY, "token": TOKEN})}).replace(
        "ghp_", "gh\\u0070_"
    )
    manager.append_turn(turn.id, raw_response=raw)
    manager.update_turn(turn.id, error=f"Authorization: Bearer {TOKEN}", status=TurnStatus.ERROR)
    before = history(manager, session.id)
    document = export(manager, session.id, form, redact=True)
    for private in (
        TOKEN,
        TOKEN[4:],
        AWS,
        AWS[4:],
        KEY[40:80],
        "MIIEpAIBAAKCAQEA7",
        "hunter2",
        "alice/",
        "alice\\",
        "a-word-like-9",
    ):
        assert private not in document.content, private
    assert document.redacted >= 9
    assert "[redacted: " in document.content
    assert "~/src" in document.content
    assert history(manager, session.id) == before


def test_json_lines_are_whole_unless_somebody_wants_them_redacted(manager: SessionManager) -> None:
    session = manager.create_session(title=TOKEN).id
    assert TOKEN in export(manager, session, "jsonl").content
    assert export(manager, session, "jsonl").redacted == 0
    assert export(manager, session, "markdown").content.startswith("# [redacted: github-token]\n")
    assert TOKEN in export(manager, session, "markdown", redact=False).content
    redacted = export(manager, session, "jsonl", redact=True)
    assert read_back(redacted.content.splitlines())["end"]["replaced"] == redacted.redacted == 1


def test_a_secret_at_the_end_of_a_preview_goes_too(manager: SessionManager) -> None:
    session = manager.create_session().id
    manager.create_round(session, content=f"{'word ' * 38}{TOKEN}")
    assert "ghp_" not in export(manager, session, "markdown").content
    assert "ghp_" not in export(manager, session, "jsonl", redact=True).content


@pytest.mark.parametrize("edge", range(65_400, 65_600, 7))
def test_secrets_on_the_edge_of_what_is_looked_at_together(manager: SessionManager, edge: int) -> None:
    session = manager.create_session().id
    manager.create_round(session, content=f"{'x ' * (edge // 2)}{TOKEN} {KEY} {'y ' * 40_000}{AWS}")
    document = export(manager, session, "markdown")
    assert not {part for part in (TOKEN[:8], TOKEN[-8:], AWS, "MIIE") if part in document.content}


def test_what_is_too_long_says_what_to_do(manager: SessionManager) -> None:
    session = manager.create_session().id
    made = manager.create_round(session, content="?")
    turn = manager.create_turn(made.response.id)
    for _ in range(9):
        manager.append_turn(turn.id, content="x" * 1024 * 1024)
    for form in ("markdown", "jsonl", "atif"):
        with pytest.raises(TooLarge, match=r"session/history.*`mandrake-sessions export"):
            export(manager, session, form)


def test_what_there_is_not(manager: SessionManager) -> None:
    session = manager.create_session().id
    with pytest.raises(InvalidValue, match="markdown, html, jsonl, atif"):
        export(manager, session, "pdf")
    with pytest.raises(NotFound):
        export(manager, "00000000-0000-4000-8000-000000000000", "jsonl")


def test_on_the_wire(wire: Wire) -> None:
    missing = "00000000-0000-4000-8000-000000000000"
    assert wire.error("session/export", sessionId=missing, format="jsonl")["data"]["kind"] == "notFound"
    session = wire.request("session/create", title=TOKEN)["id"]
    refused = wire.error("session/export", sessionId=session, format="pdf")
    assert refused["code"] == -32602
    assert "markdown, html, jsonl, atif" in refused["message"]
    for form in ("markdown", "html"):
        made = wire.request("session/export", sessionId=session, format=form)
        assert (made["mediaType"], made["redacted"]) == (f"text/{form}", 1)
    wire.request("round/create", sessionId=session, content="x" * 8 * 1024 * 1024)
    for form in ("jsonl", "html"):
        with pytest.raises(Failed) as failed:
            wire.request("session/export", sessionId=session, format=form)
        assert failed.value.error["data"]["kind"] == "tooLarge"
        assert "session/history" in failed.value.error["message"]


def test_names_that_people_give(manager: SessionManager) -> None:
    one = manager.create_session(id="0a000000-0000-4000-8000-000000000001", external_id="ext-1", agent="a")
    two = manager.create_session(id="0a100000-0000-4000-8000-000000000002")
    assert manager.find_session(one.id.upper()) == one
    assert manager.find_session("0a0") == one
    assert manager.find_session("ext-1") == one
    assert manager.find_session("0A1") == two
    with pytest.raises(NotFound):
        manager.find_session("0b")
    with pytest.raises(NotFound):
        manager.find_session("%")
    with pytest.raises(Exception, match="give more of the id"):
        manager.find_session("0a")


def test_the_beginning_of_another_programs_name(manager: SessionManager) -> None:
    name = "9f86d081-884c-4d63-a15a-0ba8d3f1c0de"
    one = manager.create_session(id="0a000000-0000-4000-8000-000000000001", external_id=name, agent="a")
    two = manager.create_session(external_id="9f86d0ff", agent="b")
    assert manager.find_session("9f86d08") == one
    assert manager.find_session("9f86d0", agent="b") == two
    assert manager.find_session("9f86d0", agent="a") == one
    # The whole name is that of no other.
    three = manager.create_session(external_id="9f86d0", agent="c")
    assert manager.find_session("9f86d0") == three
    manager.delete_session(three.id)
    with pytest.raises(Conflict, match="may mean 2 sessions") as refused:
        manager.find_session("9f86d0")
    assert isinstance(refused.value, Conflict)
    assert refused.value.candidates == [one.id, two.id]
    for too_short_or_other in ("9f86d", "86d081", "9f86d081_"):
        with pytest.raises(NotFound):
            manager.find_session(too_short_or_other)
