"""What each field, word and type means: the texts below them in the source.

Python forgets such texts, so they are read from the source; only what is generated needs them.
"""

from __future__ import annotations

import ast
import inspect
import re
from functools import cache
from types import ModuleType
from typing import Any, get_args

import attrs
from attrs import evolve, frozen

from mandrake_sessions import errors, fields, model
from mandrake_sessions.protocol import error_data, params, results
from mandrake_sessions.protocol.names import camel

# Stands in the docstring of a typed dictionary whose fields, those of its bases included, have no other default.
KEPT = "A field that is left out is kept."

_WORDS = {"None": "null", "True": "true", "False": "false"}
_PARAMS = (fields, params, error_data)
_MODULES = (errors, model, *_PARAMS, results)
# Fields of these mean what the params, or the fields of a result, of the same name mean.
_GIVEN = {
    model.Session: fields.NewSession,
    model.Round: fields.NewRound,
    model.Request: fields.NewRound,
    model.Response: fields.ResponseUpdate,
    model.Usage: fields.UsageFields,
    model.ToolCall: fields.ToolCallFields,
    model.Turn: fields.TurnUpdate,
    model.UsageGroup: model.UsageTotals,
    results.UsageReport: model.UsageTotals,
}
# Fields that mean the same in every result.
_EVERYWHERE = {
    "next_cursor": "Give it as ``cursor`` to get the next page; ``None`` at the end.",
    "seq": "The position of the store when it was read.",
    "store_id": "The name of the store's history; ``None`` while nothing has been written to it.",
}


@frozen
class FieldDoc:
    """``meaning``: sentences; ``default``: a value or words, None where the field may not be left out. Both name fields
    and values as Python does, in double backticks. ``owner``: the class in which it stands."""

    meaning: str
    default: str | None
    owner: str = ""


def field_docs(kind: Any) -> dict[str, FieldDoc]:
    """The fields of a typed dictionary, with what stands below each. Raises ValueError where that is missing."""
    found = _of_class(kind.__name__)
    for name in kind.__annotations__:
        doc = found.get(name)
        if doc is None or not doc.meaning.endswith("."):
            raise ValueError(f"{_place(kind, name)} needs a sentence below it that says what it means")
        if (doc.default is None) is not (name in kind.__required_keys__):
            raise ValueError(
                f"{_place(kind, name)}: `Default:` stands below each field that may be left out, and no other"
            )
    return found


def attribute_docs(kind: Any) -> dict[str, str]:
    """The fields of a result, with what each means. Raises ValueError where that is said nowhere."""
    found: dict[str, str] = {}
    for each in reversed(kind.__mro__):
        if each.__name__ in _classes():
            found |= {name: doc.meaning for name, doc in _of_class(each.__name__).items() if doc.meaning}
    given = next((given for entity, given in _GIVEN.items() if issubclass(kind, entity)), None)
    usual = {} if given is None else {name: doc.meaning for name, doc in _of_class(given.__name__).items()}
    all_docs = _EVERYWHERE | usual | found
    for field in attrs.fields(kind):
        if not all_docs.get(field.name, "").endswith((".", ";")):
            raise ValueError(f"{_place(kind, field.name)} needs a sentence below it that says what it means")
    return {field.name: all_docs[field.name] for field in attrs.fields(kind)}


def word_docs(kind: Any) -> dict[str, str]:
    """The words of an enumeration, or of a ``Literal`` that has a name, with what each means. Raises ValueError where
    that is missing."""
    name = name_of_words(kind)
    if name is None:
        return {}
    if isinstance(kind, type):
        texts = {ast.literal_eval(word): text for word, text in _members(_classes()[name]).items()}
        words = [member.value for member in kind]  # type: ignore[attr-defined]
    else:
        texts, words = _listed(_aliases()[name]), list(get_args(kind))
    for word in words:
        if not texts.get(word, "").endswith("."):
            raise ValueError(f"{name} needs a sentence that says what {word!r} means")
    return {word: texts[word] for word in words}


def name_of_words(kind: Any) -> str | None:
    """The name of an enumeration, or of the first ``Literal`` of a module that has these words."""
    if isinstance(kind, type):
        return kind.__name__
    named = (name for module in _MODULES for name, value in vars(module).items() if value == kind)
    return next((name for name in named if name in _aliases()), None)


def summary(kind: Any) -> str:
    """The first paragraph of the docstring of a class, or of what stands below a ``Literal``, with the wire's names."""
    name = name_of_words(kind)
    if isinstance(kind, type):
        text = _docstring(_classes()[kind.__name__]) if kind.__name__ in _classes() else ""
    else:
        text = "" if name is None else _aliases()[name]
    return on_the_wire(" ".join(text.split("\n\n")[0].split()).replace(KEPT, "").strip())


def on_the_wire(text: str) -> str:
    """A text with the wire's words in place of those in double backticks: ``session_id`` → ``sessionId``, ``None`` →
    ``null``. Those in single ones are the wire's already."""
    parts = text.split("``")
    return "`".join(_WORDS.get(part, camel(part)) if position % 2 else part for position, part in enumerate(parts))


def _place(kind: Any, name: str) -> str:
    return f"{kind.__module__}: {kind.__name__}.{name}"


def _of_class(name: str) -> dict[str, FieldDoc]:
    definition = _classes()[name]
    found: dict[str, FieldDoc] = {}
    for base in definition.bases:
        if isinstance(base, ast.Name) and base.id in _classes():
            found |= _of_class(base.id)
    own = _own_fields(definition)
    if KEPT in _docstring(definition):
        found = {name: evolve(doc, default=doc.default and "unchanged") for name, doc in found.items()}
        required = _required(definition)
        own = {
            name: evolve(doc, default="unchanged") if doc.default is None and name not in required else doc
            for name, doc in own.items()
        }
    return found | own


def _own_fields(definition: ast.ClassDef) -> dict[str, FieldDoc]:
    """The fields that stand in the class itself."""
    return {
        statement.target.id: evolve(_doc(" ".join(text.split())), owner=definition.name)
        for statement, text in _with_texts(definition.body)
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name)
    }


def _members(definition: ast.ClassDef) -> dict[str, str]:
    """The texts below the members of an enumeration, by the source of each value."""
    return {
        ast.unparse(statement.value): " ".join(text.split())
        for statement, text in _with_texts(definition.body)
        if isinstance(statement, ast.Assign)
    }


def _listed(text: str) -> dict[str, str]:
    """``word: meaning`` at the beginning of lines, each with the lines that go on with it."""
    parts = re.split(r"^(\w+): ", text, flags=re.MULTILINE)[1:]
    return {word: " ".join(meaning.split()) for word, meaning in zip(parts[::2], parts[1::2], strict=True)}


def _required(definition: ast.ClassDef) -> set[str]:
    return {
        ast.unparse(statement.target)
        for statement in definition.body
        if isinstance(statement, ast.AnnAssign) and ast.unparse(statement.annotation).startswith("Required[")
    }


def _with_texts(body: list[ast.stmt]) -> list[tuple[ast.stmt, str]]:
    """Each statement with the text that stands below it."""
    return [(statement, _text(below)) for statement, below in zip(body, [*body[1:], None], strict=True)]


def _text(statement: ast.stmt | None) -> str:
    value = statement.value if isinstance(statement, ast.Expr) else None
    return value.value if isinstance(value, ast.Constant) and isinstance(value.value, str) else ""


def _docstring(definition: ast.ClassDef) -> str:
    return ast.get_docstring(definition) or ""


def _doc(text: str) -> FieldDoc:
    meaning, _, default = text.partition(" Default: ")
    return FieldDoc(meaning, default.removesuffix(".") or None)


@cache
def _classes() -> dict[str, ast.ClassDef]:
    return {
        statement.name: statement
        for module in _MODULES
        for statement in _statements(module)
        if isinstance(statement, ast.ClassDef)
    }


@cache
def _aliases() -> dict[str, str]:
    """The names that stand in the modules for a ``Literal``, with the text below each."""
    return {
        ast.unparse(statement.targets[0]): text
        for module in _MODULES
        for statement, text in _with_texts(_statements(module))
        if isinstance(statement, ast.Assign) and ast.unparse(statement.value).startswith("Literal[")
    }


def _statements(module: ModuleType) -> list[ast.stmt]:
    return ast.parse(inspect.getsource(module)).body
