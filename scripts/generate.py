"""Write what is generated from the code: the protocol's reference and schema, the methods of the clients.

With ``--check`` nothing is written, and the exit code is 1 if a file is not current.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from chapters import chapters
from client_methods import CLIENT_FILE, SYNC_CLIENT_FILE, client_methods, sync_client_methods
from command_pages import CLI_FILE, command_page
from editor_methods import NEOVIM_FILE, neovim_methods
from reference import reference
from reliability import check_tests

from mandrake_sessions.protocol.openrpc import openrpc
from mandrake_sessions.protocol.schema import json_schema

# What rpc.discover gives, so it ships with the server.
OPENRPC_FILE = "server/mandrake_sessions/protocol/openrpc.json"
ROOT = Path(__file__).parents[1]


def generated() -> dict[Path, str]:
    """Every generated file with what it has to hold."""
    return {
        ROOT / "docs" / "protocol.md": reference(),
        **chapters(ROOT / "docs" / "protocol"),
        ROOT / "docs" / "protocol.schema.json": json.dumps(json_schema(), indent=2) + "\n",
        ROOT / CLI_FILE: command_page(),
        ROOT / OPENRPC_FILE: json.dumps(openrpc(), indent=1) + "\n",
        ROOT / NEOVIM_FILE: neovim_methods(),
        ROOT / CLIENT_FILE: client_methods(),
        ROOT / SYNC_CLIENT_FILE: sync_client_methods(),
    }


def stale() -> list[Path]:
    """The files that are not current."""
    return [path for path, text in generated().items() if not path.exists() or path.read_text(encoding="utf-8") != text]


def main() -> int:
    check_tests()
    if "--check" in sys.argv[1:]:
        found = stale()
        for path in found:
            sys.stderr.write(f"{path.relative_to(ROOT)} is not current; run `make docs`\n")
        return 1 if found else 0
    for path, text in generated().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
