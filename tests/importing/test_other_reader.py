"""The reader of docs/history.md, as another package brings it."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

from commands.running import Ended, run
from importing.importing import Place
from mandrake_sessions import SessionManager

PAGE = Path(__file__).parents[2] / "docs" / "history.md"


def install(directory: Path) -> None:
    """What the page shows, as pip lays it out."""
    page = PAGE.read_text(encoding="utf-8")
    (about,) = re.findall(r"^```toml\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    (code,) = re.findall(r"^```python\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    project = tomllib.loads(about)["project"]
    (module,) = tomllib.loads(about)["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"]
    named = directory / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    named.mkdir(parents=True)
    (directory / module).write_text(code)
    (named / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    ((group, points),) = project["entry-points"].items()
    lines = [f"{name} = {value}\n" for name, value in points.items()]
    (named / "entry_points.txt").write_text(f"[{group}]\n{''.join(lines)}")


def test_the_reader_of_the_page_brings_in_what_grows_and_keeps_it(place: Place, tmp_path: Path) -> None:
    packages = tmp_path / "packages"
    install(packages)
    notes = place.home / ".notes" / "today.jsonl"
    notes.parent.mkdir()

    def command(*words: str) -> Ended:
        given = ("--database", place.database)
        return run(place.workspace, *words, *given, PYTHONPATH=str(packages), HOME=str(place.home))

    lines = [{"asked": "What is in here?", "answered": "A few files."}, {"asked": "And now?", "answered": "More."}]
    for upto in (1, 2, 2):
        notes.write_text("".join(json.dumps(line) + "\n" for line in lines[:upto]))
        command("import", "notes")
        assert place.talk("today.jsonl") == [(line["asked"], [line["answered"]]) for line in lines[:upto]]
    with SessionManager(place.database) as manager:
        assert manager.get_session(external_id="today.jsonl").agent == "notes"
    content = notes.read_bytes()
    notes.unlink()
    command("restore-transcript", "@last")
    assert notes.read_bytes() == content
