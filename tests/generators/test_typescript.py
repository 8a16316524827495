"""TypeScript of json-schema-to-typescript: it compiles, and holds every param of every method."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from generators.node import program
from mandrake_sessions.protocol.methods import METHODS
from mandrake_sessions.protocol.names import type_name
from mandrake_sessions.protocol.schema import parameter_types

SCHEMA = Path(__file__).parents[2] / "docs" / "protocol.schema.json"
# The names of an interface, without the one that stands for any other.
HELPERS = """\
type Names<T> = keyof { [K in keyof T as string extends K ? never : number extends K ? never : K]: T[K] };
type Same<A, B> = [A] extends [B] ? ([B] extends [A] ? true : never) : never;
declare function request<N extends keyof P.Protocol["methods"]>(
  method: N, params: P.Protocol["methods"][N]["params"],
): Promise<P.Protocol["methods"][N]["result"]>;
declare function told<N extends keyof P.Protocol["notifications"]>(
  notification: N, listener: (params: P.Protocol["notifications"][N]["params"]) => void,
): void;
"""
USE = """\
request("turn/append", { turnId: "a", content: "b", chunk: 0, _mine: 1 }).then((receipt) => receipt.chunkCount + 1);
request("session/list", { state: "running" }).then((page) => page.sessions.map((session) => session.title));
told("turn/updated", (change) => (change.kind === "appended" ? change.content : change.changes));
const status: P.TurnStatus = "interrupted";
// @ts-expect-error: it has no such state
request("session/list", { state: "asleep" });
// @ts-expect-error: the turn is missing
request("turn/append", { content: "b" });
"""


@pytest.fixture(scope="module")
def declarations(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("typescript") / "protocol.d.ts"
    subprocess.run([program("json2ts"), "-i", SCHEMA, "-o", made], check=True, timeout=100)
    return made


def compiled(directory: Path, text: str) -> str:
    """What the compiler says of a program that imports the declarations as ``P``; nothing is good."""
    (directory / "use.ts").write_text(f'import type * as P from "./protocol";\n{HELPERS}{text}', encoding="utf-8")
    # Without what browsers have, which takes most of the time.
    libraries = ("--target", "es2022", "--lib", "es2022", "--skipDefaultLibCheck")
    command = [program("tsc"), "--noEmit", "--strict", *libraries, "use.ts"]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=100, check=False)
    return done.stdout + done.stderr


def test_it_compiles_and_is_of_use(declarations: Path) -> None:
    assert compiled(declarations.parent, USE) == ""


def test_it_has_every_param_and_no_other(declarations: Path) -> None:
    lines = []
    for number, (name, method) in enumerate(METHODS.items()):
        names = " | ".join(f'"{param}"' for param in parameter_types(method)) or "never"
        lines.append(f"const same{number}: Same<Names<P.{type_name(name)}Params>, {names}> = true;")
        lines.append(f"declare const result{number}: P.{type_name(name)}Result;")
    assert compiled(declarations.parent, "\n".join(lines)) == ""


def test_a_missing_param_would_be_noticed(declarations: Path) -> None:
    said = compiled(declarations.parent, 'const same: Same<Names<P.TurnIdParams>, "turnId"> = true;')
    assert "TurnIdParams" in said
    said = compiled(declarations.parent, 'const same: Same<Names<P.TurnDeleteParams>, "turnId"> = true;')
    assert "error TS2322" in said
