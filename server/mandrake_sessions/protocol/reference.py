"""``docs/protocol.md``: the reference of the protocol, from the table of methods and the types it names."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from enum import Enum
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints, is_typeddict

import attrs

from mandrake_sessions import model
from mandrake_sessions.errors import StorageReason
from mandrake_sessions.protocol.errors import ERRORS
from mandrake_sessions.protocol.field_docs import field_docs, on_the_wire
from mandrake_sessions.protocol.methods import METHODS, NOTIFICATIONS, Access, Method
from mandrake_sessions.protocol.names import camel
from mandrake_sessions.protocol.params import ReadStoreParams, StoreParams

_HEAD = """\
# Protocol reference

`make docs` generates this page from the code. [protocol.schema.json](protocol.schema.json) says the same as a JSON
Schema.

The server speaks JSON-RPC 2.0 on stdin and stdout, one message a line or with LSP's `Content-Length` headers: the first
byte that the client sends decides. Params are objects. A `?` marks a field that a client may leave out; its *Default*
says what it is then. A field that is not listed is an error that names it. Ids are UUIDs, times milliseconds since the
epoch, costs numbers of their `currency`.

Requests take effect in the order in which the client sends them. Answers may come in another order: those of `server/*`
at once, those of long reads later. Match them by `id`.
"""

_ENTITIES = (
    model.Session,
    model.Round,
    model.Request,
    model.Response,
    model.Turn,
    model.ToolCall,
)
_PRIMITIVES = {str: "string", int: "integer", float: "number", bool: "boolean", NoneType: "null"}


def reference() -> str:
    """The whole page."""
    parts = [
        _HEAD,
        "Every method but `server/*` and `store/*` also takes:\n",
        "\n".join(_field_lines(StoreParams)) + "\n",
        "Every method that reads also takes:\n",
        "\n".join(line for line in _field_lines(ReadStoreParams) if "`store?`" in line) + "\n",
        f'{_of_all()} also take `scope: "all"`: every store of `store/list` that can be read, each row then with its '
        "`store`.\n",
        "## All methods\n",
        _method_table(),
        "## Methods\n",
        *(_method(method) for method in METHODS.values()),
    ]
    parts += ["## Notifications\n", *(_notification(n.name, n.params, n.summary) for n in NOTIFICATIONS)]
    parts += ["## Entities\n", *(_class(kind) for kind in _ENTITIES)]
    parts += ["## Other shapes\n", *(_class(kind) for kind in _other_shapes())]
    parts += [_errors()]
    return "\n".join(parts)


def _method_table() -> str:
    """One row for each method, with a link to its section."""
    rows = ["| method | params | result |", "|---|---|---|"]
    for method in METHODS.values():
        params = " ".join(f"`{_marked(method.params, name)}`" for name in _required_first(method.params))
        link = f"[`{method.name}`](#{_anchor_of_name(method.name)})"
        rows.append(f"| {link} | {params or 'none'} | {_type(method.result)} |")
    return "\n".join(rows) + "\n"


def _required_first(kind: Any) -> list[str]:
    return sorted(kind.__annotations__, key=lambda name: name not in kind.__required_keys__)


def _marked(kind: Any, name: str) -> str:
    """The wire's name of a field, with a ``?`` if it may be left out."""
    return camel(name) if name in kind.__required_keys__ else f"{camel(name)}?"


def _field_lines(kind: Any) -> list[str]:
    """A line for each field of a typed dictionary: its type, its meaning, its default."""
    hints, docs = get_type_hints(kind), field_docs(kind)
    lines = []
    for name in _required_first(kind):
        doc = docs[name]
        default = f" *Default*: {on_the_wire(doc.default)}." if doc.default else ""
        lines.append(f"- `{_marked(kind, name)}`: {_type(hints[name])}. {on_the_wire(doc.meaning)}{default}")
    return lines


def _method(method: Method) -> str:
    lines = [f"### `{method.name}`\n", f"{method.summary}{_remark(method)}\n"]
    lines += _field_lines(method.params)
    return "\n".join([*lines, f"- → {_type(method.result)}\n"])


def _of_all() -> str:
    """The methods that can read all stores at once."""
    return " and ".join(f"`{method.name}`" for method in METHODS.values() if method.reads_all)


def _remark(method: Method) -> str:
    return " Never waits behind other requests." if method.access is Access.SERVICE else ""


def _notification(name: str, params: Any, summary: str) -> str:
    return f"### `{name}`\n\n{summary} Params: {_type(params)}.\n"


def _class(kind: Any) -> str:
    lines = _field_lines(kind) if is_typeddict(kind) else _attribute_lines(kind)
    return "\n".join([f"### {kind.__name__}\n", f"{_doc(kind)}\n", *lines]) + "\n"


def _attribute_lines(kind: Any) -> list[str]:
    hints = get_type_hints(kind)
    return [f"- `{camel(field.name)}`: {_type(hints[field.name])}" for field in attrs.fields(kind)]


def _doc(kind: Any) -> str:
    """The first paragraph of a docstring, with the wire's names."""
    return on_the_wire((inspect.getdoc(kind) or "").split("\n\n")[0].replace("\n", " "))


def _type(kind: Any) -> str:
    if kind in _PRIMITIVES:
        return _PRIMITIVES[kind]
    if kind is Any:
        return "any JSON"
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return " or ".join(_type(argument) for argument in arguments)
    if origin is Literal:
        return " or ".join(f'`"{word}"`' for word in arguments)
    if origin is list:
        return f"array of {_type(arguments[0])}"
    if origin is dict:
        return "object" if arguments[1] is Any else f"object of {_type(arguments[1])} by name"
    if issubclass(kind, Enum):
        return " or ".join(f'`"{member.value}"`' for member in kind)
    return f"[{kind.__name__}](#{_anchor_of_class(kind)})"


def _anchor_of_name(name: str) -> str:
    """What the heading of a method or notification is called in a link."""
    return name.replace("/", "").replace(".", "").lower()


def _anchor_of_class(kind: Any) -> str:
    """The same for a class. A notification of the same letters has the first such heading: `turn/updated`."""
    anchor: str = kind.__name__.lower()
    return f"{anchor}-1" if anchor in {_anchor_of_name(notification.name) for notification in NOTIFICATIONS} else anchor


def _other_shapes() -> Iterable[Any]:
    """Every class that a method or notification refers to and that is no entity, by name."""
    found: dict[str, Any] = {}
    roots = [kind for method in METHODS.values() for kind in (method.params, method.result)]
    for root in (*roots, *(notification.params for notification in NOTIFICATIONS)):
        _collect(root, found)
    shown = {kind.__name__ for kind in _ENTITIES} | {method.params.__name__ for method in METHODS.values()}
    return [found[name] for name in sorted(found) if name not in shown]


def _collect(kind: Any, found: dict[str, Any]) -> None:
    for argument in get_args(kind):
        _collect(argument, found)
    if not (is_typeddict(kind) or (isinstance(kind, type) and attrs.has(kind))) or kind.__name__ in found:
        return
    found[kind.__name__] = kind
    for hint in get_type_hints(kind).values():
        _collect(hint, found)


def _errors() -> str:
    rows = [
        "## Errors\n",
        "`error.data` always has `kind` and `retryable`.\n",
        "| code | kind | when |",
        "|---|---|---|",
    ]
    rows += [f"| {code} | `{kind}` | {when} |" for code, kind, when in ERRORS]
    reasons = ", ".join(f"`{reason}`" for reason in StorageReason)
    return "\n".join(rows) + f"\n\nThe reasons of `storage`: {reasons}.\n"
