"""Chooses the files that say most about a directory, and one missing file."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from mandrake_sessions.demo.tools import Entry, Listing, clean

READ_AT_MOST = 3
LARGEST_READ = 1024 * 1024
TELLING_NAMES = ("README", "pyproject.toml", "package.json", "Cargo.toml", "go.mod", "Makefile", "ARCHITECTURE")
TELLING_SUFFIXES = (".md", ".rst", ".txt", ".py", ".ts", ".js", ".rs", ".go", ".c", ".java", ".rb", ".sh", ".toml")
# The languages of the READMEs that the agent asks for. Hardly any directory has the first, and none has all.
LANGUAGES = {"eo": "Esperanto", "la": "Latin", "vo": "Volapük", "got": "Gothic"}


def worth_reading(listing: Listing) -> list[str]:
    """The paths of a few text files: first those with well-known names, then those nearest to the root."""
    candidates = [entry for entry in listing.files if _may_be_read(entry)]
    return [entry.path for entry in sorted(candidates, key=_rank)[:READ_AT_MOST]]


def missing_readme(workspace: Path) -> tuple[str, str]:
    """The name of a README that does not exist, and its language."""
    names = [(f"README.{code}.md", language) for code, language in LANGUAGES.items()]
    return next((pair for pair in names if not (workspace / pair[0]).exists()), ("README.tlh.md", "Klingon"))


def _may_be_read(entry: Entry) -> bool:
    """Skip hidden files, and names that are not Unicode, since a message cannot hold them."""
    parts = PurePosixPath(entry.path).parts
    is_hidden = any(part.startswith(".") for part in parts)
    is_telling = _name_rank(entry) < len(TELLING_NAMES) or _suffix_rank(entry) < len(TELLING_SUFFIXES)
    return not is_hidden and is_telling and 0 < entry.bytes <= LARGEST_READ and clean(entry.path) == entry.path


def _rank(entry: Entry) -> tuple[int, int, int, str]:
    depth = entry.path.count("/")
    named = _name_rank(entry) if depth == 0 else len(TELLING_NAMES)
    return named, depth, _suffix_rank(entry), entry.path


def _name_rank(entry: Entry) -> int:
    name = PurePosixPath(entry.path)
    ranks = (rank for rank, telling in enumerate(TELLING_NAMES) if telling in (name.name, name.stem))
    return next(ranks, len(TELLING_NAMES))


def _suffix_rank(entry: Entry) -> int:
    suffix = PurePosixPath(entry.path).suffix.lower()
    return TELLING_SUFFIXES.index(suffix) if suffix in TELLING_SUFFIXES else len(TELLING_SUFFIXES)
