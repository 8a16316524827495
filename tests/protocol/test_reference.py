"""Nothing of the protocol is without a text, and the examples of docs/protocol.md fit the schema."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, Literal, get_args

import pytest
from attrs import frozen

import validation
from mandrake_sessions.errors import StorageReason
from mandrake_sessions.protocol import field_docs
from mandrake_sessions.protocol.details import DETAILS
from mandrake_sessions.protocol.error_data import DATA_OF, ErrorKind
from mandrake_sessions.protocol.errors import ERRORS
from mandrake_sessions.protocol.methods import METHODS, NOTIFICATIONS
from mandrake_sessions.protocol.names import type_name

ROOT = Path(__file__).parents[2]
NAMES = [*METHODS, *(notification.name for notification in NOTIFICATIONS)]


@pytest.fixture
def exchanges(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The part of ``make docs`` that writes examples."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    return importlib.import_module("exchanges")


def test_every_method_and_notification_has_a_text_and_no_other() -> None:
    assert set(DETAILS) == set(NAMES)
    assert all(text.endswith(".") for text in DETAILS.values())


def test_every_kind_of_error_has_data_and_a_text() -> None:
    kinds = [kind for _, kind, _ in ERRORS]
    assert kinds == list(get_args(ErrorKind)) == list(DATA_OF)
    assert list(field_docs.word_docs(ErrorKind)) == kinds
    assert list(field_docs.word_docs(StorageReason)) == list(StorageReason)


def test_every_word_stands_in_the_schema_with_its_meaning() -> None:
    for name, kind in validation.schema()["$defs"].items():
        for word in kind.get("enum", ()):
            assert f"- `{word}`: " in kind["description"], f"{name}: {word!r} has no text"


def test_every_field_stands_in_the_schema_with_its_meaning() -> None:
    maps = ("Method", "Notification")
    for name, kind in validation.schema()["$defs"].items():
        for field, described in kind.get("properties", {}).items():
            if not name.endswith(maps) and described != {"$ref": "#/$defs/ErrorData"} and "const" not in described:
                assert described.get("description"), f"{name}.{field} has no text"


@frozen
class Strange:
    """A result that nobody has described."""

    odd: int


def test_a_field_without_its_text_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then ``make docs`` and ``make check`` fail with this."""
    with pytest.raises(ValueError, match=r"Strange\.odd needs a sentence below it"):
        field_docs.attribute_docs(Strange)


def test_a_word_without_its_text_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    kind = Literal["one", "two"]
    monkeypatch.setattr(field_docs, "name_of_words", lambda _: "Odd")
    monkeypatch.setattr(field_docs, "_aliases", lambda: {"Odd": "What it is.\n\none: the first.\n"})
    with pytest.raises(ValueError, match="Odd needs a sentence that says what 'two' means"):
        field_docs.word_docs(kind)


@pytest.mark.parametrize("name", NAMES)
def test_the_example_fits_the_schema(name: str, exchanges: Any) -> None:
    found = exchanges.examples(name, is_method=name in METHODS)
    assert found, "no example"
    if name in METHODS and name != "session/unsubscribe":
        assert any("result" in message for _, message in found), "no example that succeeds"
    for _, message in found:
        for part in ("params", "result"):
            if part in message and name != "rpc.discover" and not _is_refused(message, found):
                validation.of_definition(type_name(name) + part.capitalize()).validate(message[part])
        if "error" in message:
            validation.of_definition("ErrorObject").validate(message["error"])


def _is_refused(message: dict[str, Any], found: list[tuple[str, dict[str, Any]]]) -> bool:
    """Whether these are params that are an example of wrong ones."""
    answers = [each for _, each in found if each.get("id") == message.get("id") and "error" in each]
    return any(answer["error"]["data"]["kind"] == "invalidParams" for answer in answers)
