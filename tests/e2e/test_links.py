"""Every relative link of every page leads to a file, and to a heading of it where it names one."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in ("*.md", "docs/**/*.md", "editors/**/*.md")
    for path in ROOT.glob(pattern)
    if "node_modules" not in path.parts
)
LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)


def anchors(page: Path) -> set[str]:
    """What the headings of a page are called in a link, as GitHub makes it."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    found: set[str] = set()
    for heading in re.findall(r"^#+ +(.*?) *$", text, re.MULTILINE):
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        number = next(n for n in range(len(found) + 1) if (f"{slug}-{n}" if n else slug) not in found)
        found.add(f"{slug}-{number}" if number else slug)
    return found


def links(page: Path) -> list[str]:
    return LINK.findall(CODE.sub("", page.read_text(encoding="utf-8")))


def test_each_version_links_to_its_changes() -> None:
    """Relative to the page as a code host shows it, since the repository names no host."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    versions = re.findall(r"^## \[(.+)\] - \d{4}-\d\d-\d\d$", text, re.MULTILINE)
    expected = [f"[{later}]: ../../compare/v{earlier}...v{later}" for later, earlier in pairwise(versions)]
    assert re.findall(r"^\[.+\]: .+$", text, re.MULTILINE) == [
        *expected,
        f"[{versions[-1]}]: ../../tree/v{versions[-1]}",
    ]
    assert text.count("\n## ") - text.count("\n## Unreleased\n") == len(versions) >= 5


def test_there_are_pages_and_links() -> None:
    assert {"README.md", "ARCHITECTURE.md", "docs/protocol.md"} <= set(PAGES)
    reference = ROOT / "docs" / "protocol.md"
    assert {"#session", "#turnget", "#turnupdated-1"} <= {*links(reference)} & {
        f"#{name}" for name in anchors(reference)
    }
    assert "docs/keeping.md" in links(ROOT / "README.md")


@pytest.mark.parametrize("name", PAGES)
def test_every_link_leads_somewhere(name: str) -> None:
    page = ROOT / name
    dead = []
    for link in links(page):
        if re.match(r"[a-z]+:", link):
            continue
        target, _, anchor = link.partition("#")
        path = (page.parent / target).resolve() if target else page
        if not path.exists() or (anchor and anchor not in anchors(path)):
            dead.append(link)
    assert not dead
