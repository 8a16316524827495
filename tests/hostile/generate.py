"""Random values, messages and bytes, each from a ``random.Random``: the grammar of what a client should not send."""

from __future__ import annotations

import json
import random
from typing import Any

from hostile.shapes import Ids, example, fields
from mandrake_sessions.protocol.methods import METHODS
from validation import schema

STRINGS = (
    "", "x", "a b", "\0", "\ud800", "\udfff\ud800", "é🦑", "\u2028\u2029\x85", "2.0", "jsonrpc", "null", "1", "%", "_",
    "';--", "\\", '"', "{}", "\n", "\r\nContent-Length: 5\r\n\r\n", "-1", "1e999", "__proto__", "a" * 3000,
    "01890a5d-ac96-774b-bcce-b302099a8057", "01890A5D-AC96-774B-BCCE-B302099A8057", "streaming", "completed", "asc",
    "workspace", "system", "file:///nowhere", "\ufeff", "ﬀ", "I\u0307", "\u202e",
)  # fmt: skip
NUMBERS = (
    0, -0.0, 1, -1, 2, 7, 1.0, 1.5, -1.5, 1e300, 5e-324, 2**31, 2**53 + 1, 2**63 - 1, 2**63, -(2**63) - 1, 2**64,
    10**40, 10**4999, 1000, 1001, 50,
)  # fmt: skip
# Tokens that stand where JSON has a value, and most of which JSON does not have.
RAW = (
    b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-1e999", b"9" * 5000, b"9" * 50_000, b"9" * 50_001, b"01", b"+1",
    b".5", b"1.", b"0x10", b"1_000", b"'x'", b"undefined", b"True", b"", b",", b"\xff", b"\xc3", b"\xed\xa0\x80",
    b'"\\ud800"', b'"\\x"', b'"\\u12"', b'"\t"', b"\x00", b"//", b"/**/",
    b"[" * 60 + b"]" * 60, b"[" * 500 + b"]" * 500,
    b"[" * 3000, b'{"a":' * 100 + b"1" + b"}" * 100, b'{"a":1,"a":2}', b'"' + b"y" * 20_000 + b'"', b"1e-400", b"-",
)  # fmt: skip
# Never these: they end the server, or make it refuse all that follows, as they should.
ENDINGS = ("exit", "shutdown")


def value(rng: random.Random, depth: int = 0) -> Any:
    """Any JSON."""
    kind = rng.randrange(8 if depth < 5 else 5)
    if kind < 2:
        return rng.choice(STRINGS)
    if kind < 4:
        return rng.choice(NUMBERS)
    if kind == 4:
        return rng.choice((None, True, False, [], {}))
    if kind == 5:
        return [value(rng, depth + 1) for _ in range(rng.randrange(4))]
    return {rng.choice(STRINGS): value(rng, depth + 1) for _ in range(rng.randrange(4))}


ALL_FIELDS = fields()
UNKNOWN_IDS = Ids(*["01890a5d-ac96-774b-bcce-b302099a8057"] * 5)


def valid_value(rng: random.Random, kind: dict[str, Any], depth: int = 0) -> Any:
    """A value that a schema allows."""
    if "$ref" in kind:
        return valid_value(rng, schema()["$defs"][kind["$ref"].rpartition("/")[2]], depth)
    if "anyOf" in kind:
        return valid_value(rng, rng.choice(kind["anyOf"]), depth)
    if "enum" in kind:
        return rng.choice(kind["enum"])
    if "properties" in kind:
        names = [name for name in kind["properties"] if name in kind["required"] or rng.random() < 0.3]
        return {name: valid_value(rng, kind["properties"][name], depth + 1) for name in names}
    simple: dict[str, Any] = {
        "string": rng.choice(("", "x", "é", "\0", "streaming text ", "\u2028")),
        "integer": rng.choice((0, 1, 2, 10**6)),
        "number": rng.choice((0, 0.25, 1)),
        "boolean": rng.random() < 0.5,
        "null": None,
        "object": {"a": rng.randrange(9)},
    }
    if kind.get("type") == "array":
        return [valid_value(rng, kind.get("items", {}), depth + 1) for _ in range(rng.randrange(3))]
    return simple[kind["type"]] if "type" in kind else value(rng, 4)


def message(rng: random.Random, message_id: Any) -> dict[str, Any]:
    """A call of a method of ours, with valid params or one wrong one. It deletes nothing."""
    if rng.random() < 0.5:
        field = rng.choice(ALL_FIELDS)
        method, params = field.method, field.put(UNKNOWN_IDS, value(rng))
    else:
        method = rng.choice(tuple(METHODS))
        params = example(method, UNKNOWN_IDS)
    return {"jsonrpc": "2.0", "id": message_id, "method": method, "params": params}


def broken_message(rng: random.Random, made: dict[str, Any]) -> Any:
    """The message with something changed in it as a JSON value; or another value altogether."""
    changed = dict(made)
    match rng.randrange(10):
        case 0:
            changed.pop(rng.choice(tuple(changed)))
        case 1:
            changed[rng.choice(("jsonrpc", "id", "params", "extra", "result", "error"))] = value(rng)
        case 2:
            changed["method"] = rng.choice(
                ("", "session", "session/", "$/nobody", "$/cancelRequest", "Session/List", 5)
            )
        case 3:
            changed["params"] = value(rng)
        case 4:
            return value(rng)
        case 5:
            return [broken_message(rng, made) for _ in range(rng.randrange(4))]
        case 6:
            return [made, [made]]
        case 7:
            changed["params"] = {"metadata": value(rng), rng.choice(STRINGS): value(rng)}
        case 8:
            changed.pop("id")
        case _:
            pass
    return changed


def broken_bytes(rng: random.Random, body: bytes) -> bytes:
    """The bytes of a message with some of them changed."""
    at = rng.randrange(len(body) + 1)
    match rng.randrange(9):
        case 0:
            return body[:at]
        case 1:
            return body[:at] + rng.choice(RAW) + body[at:]
        case 2:
            return body[:at] + rng.randbytes(rng.randrange(1, 5)) + body[at + 1 :]
        case 3:
            return body + body
        case 4:
            return body[:at] + body[at + rng.randrange(1, 20) :]
        case 5:
            return body.replace(b'"params":', b'"params":%b,"params":' % rng.choice(RAW), 1)
        case 6:
            return body.replace(b"{", b'{"id":%b,' % rng.choice(RAW), 1)
        case 7:
            return body.replace(rng.choice((b":", b",", b'"', b"}")), rng.choice(RAW), rng.randrange(1, 3))
        case _:
            return rng.choice((b"\xef\xbb\xbf", b"\0", b"\xff\xfe", b" ", b"\t\r")) + body


def ends_the_server(body: bytes) -> bool:
    """Whether the bytes could be taken for a message that must end it (an escape could spell it otherwise)."""
    return any(word.encode() in body for word in ENDINGS) or b"processId" in body


def encoded(rng: random.Random, made: Any) -> bytes:
    """JSON in one of the ways in which it may be written."""
    style = rng.randrange(3)
    if style == 0:
        return json.dumps(made).encode()
    if style == 1:
        return json.dumps(made, separators=(",", ":")).encode()
    return json.dumps(made, ensure_ascii=False).encode(errors="surrogatepass")
