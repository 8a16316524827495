"""Python of datamodel-code-generator: it imports, holds every param of every method, and takes what the server says."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from golden import recorded
from mandrake_sessions.protocol.methods import METHODS, NOTIFICATIONS
from mandrake_sessions.protocol.names import type_name
from mandrake_sessions.protocol.schema import parameter_types

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / "docs" / "protocol.schema.json"
_COMMAND = (
    *(sys.executable, "-m", "datamodel_code_generator", "--input-file-type", "jsonschema"),
    *("--output-model-type", "pydantic_v2.BaseModel", "--formatters", "builtin"),
)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    made = tmp_path_factory.mktemp("python") / "protocol_models.py"
    subprocess.run([*_COMMAND, "--input", SCHEMA, "--output", made], check=True, timeout=100)
    spec = importlib.util.spec_from_file_location("protocol_models", made)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["protocol_models"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", METHODS)
def test_it_has_every_param_and_no_other(name: str, models: ModuleType) -> None:
    declared = parameter_types(METHODS[name])
    fields = getattr(models, f"{type_name(name)}Params").model_fields
    if not declared:
        # An object of what is ignored, and nothing else.
        assert set(fields) <= {"root"}
        return
    assert {field.alias or name for name, field in fields.items()} == set(declared)
    assert {field.alias or name for name, field in fields.items() if field.is_required()} == {
        name for name, (_, required) in declared.items() if required
    }


@pytest.mark.parametrize("name", [*METHODS, *(notification.name for notification in NOTIFICATIONS)])
def test_it_takes_what_the_server_says(name: str, models: ModuleType) -> None:
    part = "result" if name in METHODS else "params"
    model = getattr(models, f"{type_name(name)}{part.capitalize()}")
    said = recorded(name, part)
    # The golden file of session/unsubscribe holds an error alone.
    assert said or name == "session/unsubscribe"
    for exchange in said:
        model.model_validate(exchange[part])
