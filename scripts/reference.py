"""``docs/protocol.md``: the index of the chapters and the reference, from the table of methods and the types it names.

Raises ValueError where a method, a field, a word or an error has no text, and where a method has no example.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from exchanges import examples, written
from reference_types import (
    anchor,
    field_lines,
    listed_classes,
    result_lines,
    type_link,
    word_types,
)

from mandrake_sessions import model
from mandrake_sessions.errors import ConflictReason, StorageReason
from mandrake_sessions.protocol import field_docs
from mandrake_sessions.protocol.details import DETAILS
from mandrake_sessions.protocol.error_data import DATA_OF, ErrorKind
from mandrake_sessions.protocol.errors import ERRORS
from mandrake_sessions.protocol.errors_of import OF_REQUESTS, OF_STORES, entities_of, kinds_of
from mandrake_sessions.protocol.field_docs import on_the_wire
from mandrake_sessions.protocol.methods import METHODS, NOTIFICATIONS, PROTOCOL_VERSION, Method, NotificationType
from mandrake_sessions.protocol.names import camel
from mandrake_sessions.protocol.params import AllStoreParams, ReadStoreParams, StoreParams

# The chapters, in the order in which one writes a client.
CHAPTERS = {
    "starting": "how to start the server, what a message looks like, how both end",
    "order": "what takes effect when, which answer comes when, how to cancel",
    "retrying": "how to send a write again without storing it twice",
    "subscribing": "how to begin without a gap, and how to apply each change",
    "resuming": "how to go on after a restart, of your program or of the server",
    "leases": "what happens to a turn whose process ends",
    "paging": "how to read long lists",
    "errors": "what an error says, and what to do about each kind",
}
ENTITIES = (model.Session, model.Round, model.Request, model.Response, model.Usage, model.Turn, model.ToolCall)

# What stands before the reference, with CHAPTERS in place of the list of chapters.
_HEAD = Path(__file__).with_name("protocol_head.md")


def reference() -> str:
    """The whole page."""
    parts = [_head(), _stores(), "## All methods\n", _method_table(), "## Methods\n"]
    parts += [_method(method) for method in METHODS.values()]
    parts += ["## Notifications\n", *(_notification(each) for each in NOTIFICATIONS)]
    parts += ["## Entities\n", *(_class(kind) for kind in ENTITIES)]
    parts += ["## Words\n", *(_words(kind) for kind in word_types())]
    parts += ["## Other shapes\n", *(_class(kind) for kind in listed_classes(ENTITIES))]
    parts += [_errors()]
    return "\n".join(parts)


def _head() -> str:
    rows = [f"- [{name.capitalize()}](protocol/{name}.md): {about}" for name, about in CHAPTERS.items()]
    rows += [
        "- [Methods](#methods), [notifications](#notifications), [entities](#entities), [words](#words), "
        "[other shapes](#other-shapes), [errors](#errors): the reference, on this page"
    ]
    text = _HEAD.read_text(encoding="utf-8")
    return text.replace("CHAPTERS", "\n".join(rows)).replace("VERSION", str(PROTOCOL_VERSION))


def _stores() -> str:
    read = [line for line in field_lines(ReadStoreParams) if line.startswith("- `store?`")]
    wide = [line for line in field_lines(AllStoreParams) if line.startswith("- `scope?`")]
    names = ", ".join(f"`{method.name}`" for method in METHODS.values() if method.reads_all)
    reading = ", ".join(f"`{method.name}`" for method in METHODS.values() if method.reads)
    without = ", ".join(f"`{method.name}`" for method in METHODS.values() if not method.takes_store)
    return "\n".join(
        [
            "## Which store\n",
            f"Every method but {without} also takes:\n",
            *field_lines(StoreParams),
            f"\nWhat reads and does not subscribe ({reading}) also takes:\n",
            *read,
            f"\n{names} take a wider `scope`:\n",
            *wide,
            "\n[Settings](settings.md) says how the server finds its workspace.\n",
        ]
    )


def _method_table() -> str:
    """One row for each method, with a link to its section."""
    rows = ["| method | what it does | result |", "|---|---|---|"]
    for method in METHODS.values():
        link = f"[`{method.name}`](#{anchor(method.name)})"
        rows.append(f"| {link} | {method.summary} | {type_link(method.result)} |")
    return "\n".join(rows) + "\n"


def _method(method: Method) -> str:
    lines = [f"### `{method.name}`\n", f"{method.summary} {_detail(method.name)}\n"]
    if params := field_lines(method.params):
        lines += ["Params:\n", *params, ""]
    else:
        lines += ["It has no params.\n"]
    lines += [f"Result: {type_link(method.result)}.\n"]
    lines += [_errors_of(method) + "\n"]
    found = examples(method.name, is_method=True)
    if not found:
        raise ValueError(f"{method.name} has no example: nothing is recorded in tests/protocol/golden")
    return "\n".join([*lines, "```", *(written(*message) for message in found), "```\n"])


def _detail(name: str) -> str:
    if name not in DETAILS:
        raise ValueError(f"{name} has no text in protocol/details.py")
    return on_the_wire(DETAILS[name])


def _errors_of(method: Method) -> str:
    own = []
    if entities := entities_of(method):
        own.append(f"[`notFound`](#error-kinds) ({', '.join(f'`{entity}`' for entity in entities)})")
    if method.conflict:
        own.append(f"[`conflict`](#conflict-reasons) ({', '.join(f'`{reason}`' for reason in method.conflict)})")
    usual = "any request about a store" if OF_STORES[0] in kinds_of(method) else "any request"
    own.append(f"those of [{usual}](#which-request-gets-which)")
    return f"Errors: {', '.join(own)}."


def _notification(each: NotificationType) -> str:
    lines = [f"### `{each.name}`\n", f"{each.summary} {_detail(each.name)}\n", f"Params: {type_link(each.params)}.\n"]
    found = examples(each.name, is_method=False)
    return "\n".join([*lines, "```", *(written(*message) for message in found), "```\n"])


def _class(kind: Any) -> str:
    words = field_docs.summary(kind)
    return "\n".join([f"### {kind.__name__}\n", *([f"{words}\n"] if words else []), *result_lines(kind)]) + "\n"


def _words(kind: Any) -> str:
    name = field_docs.name_of_words(kind)
    words = field_docs.word_docs(kind)
    rows = [f"- `{word}`: {on_the_wire(text)}" for word, text in words.items()]
    return "\n".join([f"### {name}\n", f"{field_docs.summary(kind)}\n", *rows]) + "\n"


def _errors() -> str:
    meanings = field_docs.word_docs(ErrorKind)
    rows = [
        "## Errors\n",
        "An `error` has JSON-RPC's `code` and `message`, and `data`. Switch on `data.kind`. The message is for people: "
        "it says what was wrong, with what value, and what to do. [The chapter](protocol/errors.md) has exchanges.\n",
        "### Error kinds\n",
        "| code | kind | meaning | `data`, beside `kind` and `retryable` |",
        "|---|---|---|---|",
    ]
    rows += [f"| {code} | `{kind}` | {on_the_wire(meanings[kind])} | {_data(kind)} |" for code, kind, _ in ERRORS]
    rows += [
        "\nIn an error of `transaction/run`, `operation` says which operation failed, from 0.\n",
        "### Data of errors\n",
    ]
    for data in DATA_OF.values():
        lines = [
            line for line in field_lines(data) if not line.startswith(("- `kind`", "- `retryable`", "- `operation"))
        ]
        rows += [f"{field_docs.summary(data)}\n", *lines, ""] if lines else []
    rows += ["### Conflict reasons\n", *_reasons(ConflictReason), "\n### Storage reasons\n", *_reasons(StorageReason)]
    rows += ["\n### Which request gets which\n", *_which()]
    return "\n".join(rows) + "\n"


def _data(kind: str) -> str:
    data = DATA_OF[kind]
    required = data.__required_keys__
    own = [name for name in data.__annotations__ if name not in ("kind", "retryable", "operation")]
    return " ".join(f"`{camel(name)}{'' if name in required else '?'}`" for name in own) or "none"


def _reasons(kind: Any) -> list[str]:
    rows = ["| `reason` | meaning |", "|---|---|"]
    return rows + [f"| `{word}` | {on_the_wire(text)} |" for word, text in field_docs.word_docs(kind).items()]


def _which() -> list[str]:
    def words(kinds: tuple[str, ...]) -> str:
        return ", ".join(f"`{kind}`" for kind in kinds)

    return [
        "- Any message, whatever it is: `parse`, `invalidRequest`, `tooLarge`, and `methodNotFound` for a request.",
        f"- Any request with a method of this page: {words(OF_REQUESTS)}.",
        f"- Any request about a store: {words(OF_STORES)} too. `readOnly` is an error of writes alone; `full` also of "
        "reads with a long answer, since that is put into a file first.",
        "- What a method adds (`notFound`, `conflict`) stands in its section.",
    ]
