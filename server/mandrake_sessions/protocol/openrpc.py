"""The same as the JSON Schema, as an OpenRPC document: what ``rpc.discover`` gives.

``make docs`` writes it to ``openrpc.json`` beside this file, and a server gives that (``discovery.py``).
"""

from __future__ import annotations

from typing import Any

from mandrake_sessions.protocol.details import DETAILS
from mandrake_sessions.protocol.error_data import ErrorKind
from mandrake_sessions.protocol.errors import ERRORS
from mandrake_sessions.protocol.errors_of import entities_of, kinds_of
from mandrake_sessions.protocol.field_docs import on_the_wire, word_docs
from mandrake_sessions.protocol.methods import METHODS, NOTIFICATIONS, PROTOCOL_VERSION, Method
from mandrake_sessions.protocol.names import type_name
from mandrake_sessions.protocol.schema import IGNORED, Schema, json_schema
from mandrake_sessions.version import __version__

# The newest that the public meta-schema knows.
_OPENRPC = "1.3.2"
_DESCRIPTION = (
    "JSON-RPC 2.0 on stdin and stdout, one message a line or with LSP's Content-Length headers. Params are objects; "
    f"those whose names match {IGNORED} are ignored, any other unknown one is an error. Results and notifications may "
    "get further fields. x-notifications are what the server sends by itself. `$defs` of the JSON Schema are "
    "`components.schemas` here."
)


def openrpc() -> Schema:
    """Made from the table."""
    schema = json_schema()
    definitions = _moved(schema["$defs"])
    meanings = word_docs(ErrorKind)
    errors = {
        kind: {"code": code, "message": on_the_wire(meanings[kind]), "data": {"kind": kind}} for code, kind, _ in ERRORS
    }
    return {
        "openrpc": _OPENRPC,
        "info": {
            "title": "mandrake-sessions",
            "version": __version__,
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0"},
            "x-protocolVersion": PROTOCOL_VERSION,
        },
        "methods": [_method(method, definitions) for method in METHODS.values()],
        "x-notifications": [
            {
                "name": notification.name,
                "summary": notification.summary,
                "description": DETAILS[notification.name],
                "params": _moved(schema["notifications"][notification.name]["params"]),
            }
            for notification in NOTIFICATIONS
        ],
        "components": {"schemas": definitions, "errors": errors},
    }


def _method(method: Method, definitions: dict[str, Schema]) -> Schema:
    name = type_name(method.name)
    params = definitions[f"{name}Params"]
    return {
        "name": method.name,
        "summary": method.summary,
        "description": DETAILS[method.name],
        "paramStructure": "by-name",
        "params": [
            {"name": param, "required": param in params["required"], **_descriptor(schema)}
            for param, schema in sorted(
                params["properties"].items(), key=lambda item: item[0] not in params["required"]
            )
        ],
        "result": {"name": f"{name}Result", "schema": {"$ref": f"#/components/schemas/{name}Result"}},
        "errors": [{"$ref": f"#/components/errors/{kind}"} for kind in kinds_of(method)],
        "x-notFound": list(entities_of(method)),
        "x-conflict": list(method.conflict),
    }


def _descriptor(schema: Schema) -> Schema:
    return {"description": schema["description"], "schema": {k: v for k, v in schema.items() if k != "description"}}


def _moved(value: Any) -> Any:
    """The same, with the definitions where OpenRPC has them."""
    if isinstance(value, dict):
        return {name: _moved(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_moved(item) for item in value]
    return value.replace("#/$defs/", "#/components/schemas/") if isinstance(value, str) else value
