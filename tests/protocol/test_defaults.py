"""The defaults that docs/protocol.md names are those that the program applies."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable
from typing import Any

import pytest

from mandrake_sessions import SessionManager, fields
from mandrake_sessions.protocol import params
from mandrake_sessions.protocol.field_docs import KEPT, field_docs, on_the_wire
from mandrake_sessions.protocol.methods import METHODS

# What a page leaves out, and what is not a field of what is created.
NOT_STORED = {"detached", "include_text"}


def values(kind: Any) -> dict[str, Any]:
    """The defaults that are values, not words: ``None``, or a value in backticks and nothing but a remark after it."""
    found = {}
    for name, doc in field_docs(kind).items():
        if doc.default is not None and doc.default.startswith("``"):
            found[name] = ast.literal_eval(doc.default.split("``")[1])
    return found


@pytest.mark.parametrize(
    ("kind", "function"),
    [
        (params.SessionList, SessionManager.list_sessions),
        (params.SessionHistory, SessionManager.history),
        (params.RoundList, SessionManager.list_rounds),
        (params.RoundDelete, SessionManager.delete_round),
        (params.ResponseStatusGet, SessionManager.response_status),
        (params.TurnCreate, SessionManager.create_turn),
        (params.TurnChange, SessionManager.update_turn),
        (params.TurnGet, SessionManager.get_turn),
        (params.TurnList, SessionManager.list_turns),
        (params.TurnLatest, SessionManager.latest_turn),
    ],
)
def test_arguments(kind: Any, function: Callable[..., Any]) -> None:
    signature = inspect.signature(function).parameters
    named = {name: value for name, value in values(kind).items() if name in signature}
    assert named == {
        name: parameter.default
        for name, parameter in signature.items()
        if name in kind.__annotations__ and parameter.default is not inspect.Parameter.empty
    }
    assert named


def test_fields_of_new_entities(manager: SessionManager) -> None:
    session = manager.create_session()
    detail = manager.create_round(session.id, content="?")
    turn = manager.create_turn(detail.response.id)
    call = manager.upsert_tool_call(turn.id, {"id": "call"})
    for kind, entities in (
        (fields.NewSession, (session,)),
        (fields.NewRound, (detail.round, detail.request)),
        (fields.NewTurn, (turn,)),
        (fields.ToolCallFields, (call,)),
    ):
        for name, default in values(kind).items():
            if name not in NOT_STORED:
                stored = next(getattr(entity, name) for entity in entities if hasattr(entity, name))
                assert stored == default, f"{kind.__name__}.{name}"


def test_what_an_update_leaves_out_is_unchanged(manager: SessionManager) -> None:
    turn = manager.create_turn(
        manager.create_round(manager.create_session(title="A talk").id, content="?").response.id,
        content="It ", model="m", output_tokens=7, tool_calls=[{"id": "call", "title": "ls"}],
    )  # fmt: skip
    changed = manager.update_turn(turn.id, current_tokens=5)
    assert (changed.content, changed.model, changed.output_tokens, changed.kind) == ("It ", "m", 7, "message")
    call = manager.upsert_tool_call(turn.id, {"id": "call", "kind": "read"})
    assert (call.title, call.kind) == ("ls", "read")
    assert field_docs(fields.TurnUpdate)["model"].default == "unchanged"
    assert field_docs(params.TurnChange)["model"].default == "unchanged"
    assert KEPT in (fields.TurnUpdate.__doc__ or "")


def test_every_param_of_every_method_is_described() -> None:
    for method in METHODS.values():
        docs = field_docs(method.params)
        assert docs.keys() == method.params.__annotations__.keys(), method.name


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("title: str", "params: Strange.title needs a sentence below it"),
        ('title: str\n    """No sentence"""', "Strange.title needs a sentence"),
        ('title: str\n    """A sentence."""', "Strange.title: `Default:` stands below each field that may be left out"),
        ('title: Required[str]\n    """A sentence. Default: ``""``."""', "Strange.title: `Default:`"),
    ],
)
def test_a_param_without_its_text_is_named(source: str, fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then ``make docs`` and ``make check`` fail with this."""
    declared = f"class Strange(TypedDict, total=False):\n    {source}\n"
    namespace: dict[str, Any] = {"__name__": params.__name__}
    # As fields.py is compiled: this file's own annotations are texts.
    code = compile(f"from typing import Required, TypedDict\n{declared}", "strange", "exec", dont_inherit=True)
    exec(code, namespace)
    definition = ast.parse(declared).body[0]
    monkeypatch.setattr("mandrake_sessions.protocol.field_docs._classes", lambda: {"Strange": definition})
    with pytest.raises(ValueError) as caught:
        field_docs(namespace["Strange"])
    assert fault in str(caught.value)


def test_words_become_those_of_the_wire() -> None:
    assert on_the_wire("``session_id`` is ``None``, not `Some_Thing` or a_word") == (
        "`sessionId` is `null`, not `Some_Thing` or a_word"
    )
