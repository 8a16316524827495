"""What ``rpc.discover`` gives: valid by the public meta-schema, and the same as the table."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT7

from generators.node import exported
from mandrake_sessions.protocol.methods import METHODS, NOTIFICATIONS
from mandrake_sessions.protocol.openrpc import openrpc
from mandrake_sessions.protocol.schema import json_schema, parameter_types
from wire import serving


def faults(document: dict[str, Any]) -> list[str]:
    """What the public meta-schema finds wrong."""
    meta = exported("@open-rpc/meta-schema")
    meta = meta.get("openrpcDocument", meta)
    of_schemas = exported("@json-schema-tools/meta-schema")
    known: Registry[Any] = Registry().with_resources(
        (name, Resource.from_contents(of_schemas, default_specification=DRAFT7))
        for name in ("https://meta.json-schema.tools", "https://meta.json-schema.tools/")
    )
    validator = jsonschema.Draft7Validator(meta, registry=known)
    return [f"{error.json_path}: {error.message[:200]}" for error in validator.iter_errors(document)]


def test_it_is_valid_by_the_public_meta_schema() -> None:
    assert faults(openrpc()) == []


def test_the_meta_schema_finds_faults() -> None:
    document = openrpc()
    document["methods"][0]["params"][0].pop("name")
    del document["info"]
    assert len(faults(document)) >= 2


def test_a_server_gives_it_before_there_is_a_store(workspace: Path) -> None:
    before = set(workspace.rglob("*"))
    with serving(workspace) as wire:
        assert wire.request("rpc.discover") == openrpc()
        assert wire.request("rpc.discover", _mine=1) == openrpc()
        assert wire.error("rpc.discover", scope="workspace")["data"]["path"] == "params.scope"
    assert set(workspace.rglob("*")) == before


def test_it_says_the_same_as_the_schema() -> None:
    document, schema = openrpc(), json_schema()
    assert document["components"]["schemas"].keys() == schema["$defs"].keys()
    assert [notification["name"] for notification in document["x-notifications"]] == [n.name for n in NOTIFICATIONS]
    described = {method["name"]: method for method in document["methods"]}
    assert list(described) == list(METHODS)
    for name, method in METHODS.items():
        params = {param["name"]: param["required"] for param in described[name]["params"]}
        assert params == {param: required for param, (_, required) in parameter_types(method).items()}


def test_every_reference_leads_somewhere() -> None:
    document = openrpc()
    known = {
        f"#/components/{kind}/{name}" for kind, components in document["components"].items() for name in components
    }
    found = set(references(document))
    assert found
    assert found <= known


def references(value: Any) -> Iterator[str]:
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from references(item)
    if isinstance(value, dict) and isinstance(reference := value.get("$ref"), str):
        yield reference
