"""What each param means, and what it is where it is left out: the texts below the fields of the typed dictionaries.

Python forgets such texts, so they are read from the source; only the generated pages need them.
"""

from __future__ import annotations

import ast
import inspect
from functools import cache
from types import ModuleType
from typing import Any

from attrs import evolve, frozen

from mandrake_sessions import fields
from mandrake_sessions.protocol import params
from mandrake_sessions.protocol.names import camel

# Stands in the docstring of a typed dictionary whose fields, those of its bases included, have no other default.
KEPT = "A field that is left out is kept."

_WORDS = {"None": "null", "True": "true", "False": "false"}


@frozen
class FieldDoc:
    """``meaning``: sentences; ``default``: a value or words, None where the field may not be left out. Both name fields
    and values as Python does, in double backticks."""

    meaning: str
    default: str | None


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


def on_the_wire(text: str) -> str:
    """A text in which the words in backticks are the wire's: ``session_id`` → ``sessionId``, ``None`` → ``null``."""
    parts = text.replace("``", "`").split("`")
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
    if KEPT in (ast.get_docstring(definition) or ""):
        found = {name: evolve(doc, default="unchanged") for name, doc in found.items()}
        required = _required(definition)
        own = {
            name: evolve(doc, default="unchanged") if doc.default is None and name not in required else doc
            for name, doc in own.items()
        }
    return found | own


def _own_fields(definition: ast.ClassDef) -> dict[str, FieldDoc]:
    """The fields that stand in the class itself."""
    found = {}
    for statement, below in zip(definition.body, [*definition.body[1:], None], strict=True):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            found[statement.target.id] = _doc(_text(below))
    return found


def _required(definition: ast.ClassDef) -> set[str]:
    return {
        ast.unparse(statement.target)
        for statement in definition.body
        if isinstance(statement, ast.AnnAssign) and ast.unparse(statement.annotation).startswith("Required[")
    }


def _text(statement: ast.stmt | None) -> str:
    value = statement.value if isinstance(statement, ast.Expr) else None
    return " ".join(value.value.split()) if isinstance(value, ast.Constant) and isinstance(value.value, str) else ""


def _doc(text: str) -> FieldDoc:
    meaning, _, default = text.partition(" Default: ")
    return FieldDoc(meaning, default.removesuffix(".") or None)


@cache
def _classes() -> dict[str, ast.ClassDef]:
    return {name: found for module in (fields, params) for name, found in _classes_of(module).items()}


def _classes_of(module: ModuleType) -> dict[str, ast.ClassDef]:
    body = ast.parse(inspect.getsource(module)).body
    return {statement.name: statement for statement in body if isinstance(statement, ast.ClassDef)}
