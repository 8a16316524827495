"""JSON values of tools and programs: texts as they are, edits as what they change, plans as lists, all else as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from markupsafe import Markup

from mandrake_sessions.exports.conversation import slices
from mandrake_sessions.exports.json_parts import encode
from mandrake_sessions.exports.markdown_text import plain
from mandrake_sessions.exports.page.diffs import diff
from mandrake_sessions.exports.page.highlight import highlighted
from mandrake_sessions.exports.page.text import line, preformatted
from mandrake_sessions.json_codec import JsonEncoder

# Laying out more JSON takes long, and nobody reads it.
MAX_LAID_OUT_BYTES = 64 * 1024
_pretty = JsonEncoder(ensure_ascii=False, allow_nan=False, indent=2)
# The names that agents have for the text before and after an edit, and for the file.
_BEFORE_AND_AFTER = (
    ("old_string", "new_string"),
    ("oldText", "newText"),
    ("oldString", "newString"),
    ("old_str", "new_str"),
)
_PATHS = ("file_path", "path", "filePath", "abs_path", "filename")
_LISTS_OF_STEPS = ("plan", "todos", "entries")
_STEPS = ("content", "step", "title")
_MORE_OF_STEPS = ("priority", "activeForm")
_MARKS = {"completed": "☑", "in_progress": "▶"}


def shown_value(value: Any) -> Iterator[Markup]:
    """A text as it is, anything else as JSON."""
    if isinstance(value, str):
        yield from preformatted(slices(value))
    else:
        yield from shown_json(value)


def shown_json(value: Any) -> Iterator[Markup]:
    text = encode(value)
    if len(text.encode()) > MAX_LAID_OUT_BYTES:
        yield from preformatted(slices(text))
        return
    yield Markup('<pre dir="ltr" lang=""><code>{}</code></pre>\n').format(
        highlighted(plain(_pretty.encode(value)), "json")
    )


def shown_arguments(value: Any) -> Iterator[Markup]:
    """What a tool was given."""
    if not isinstance(value, dict):
        yield from shown_value(value)
        return
    rest = dict(value)
    path = path_of(rest)
    yield from _edits(rest, path)
    yield from _steps(rest)
    texts = {name: rest.pop(name) for name, item in value.items() if name in rest and _has_lines(item)}
    if rest:
        yield from shown_json(rest)
    for name, text in texts.items():
        yield Markup('<figure class="code"><figcaption>{}</figcaption>').format(line(name))
        yield from _of_file(text, path)
        yield Markup("</figure>\n")


def path_of(value: dict[str, Any]) -> str:
    return next((value[name] for name in _PATHS if isinstance(value.get(name), str)), "")


def plan(value: Any) -> Markup | None:
    """A list of steps; None for what is no plan."""
    if isinstance(value, dict) and len(value) == 1 and value.keys() <= set(_LISTS_OF_STEPS):
        (value,) = value.values()
    if not isinstance(value, list) or not value or len(value) > 1000:
        return None
    steps = [_step(item) for item in value]
    if not all(steps):
        return None
    return Markup('<ul class="steps">{}</ul>\n').format(Markup("").join(filter(None, steps)))


def _edits(rest: dict[str, Any], path: str) -> Iterator[Markup]:
    """Those in a tool's arguments, which are taken out of them."""
    pair = _before_and_after(rest)
    if pair is not None:
        before, after = (str(rest.pop(name) or "") for name in pair)
        yield from diff(path, before, after)
    edits = rest.get("edits")
    if isinstance(edits, list) and edits and all(isinstance(item, dict) and _before_and_after(item) for item in edits):
        for item in rest.pop("edits"):
            left = dict(item)
            yield from _edits(left, path)
            if left:
                yield from shown_json(left)
    elif pair is None:
        return
    for name in _PATHS if path else ():
        if rest.get(name) == path:
            del rest[name]


def _before_and_after(value: dict[str, Any]) -> tuple[str, str] | None:
    for pair in _BEFORE_AND_AFTER:
        before, after = (value.get(name, ...) for name in pair)
        if isinstance(before, str | None) and isinstance(after, str):
            return pair
    return None


def _steps(rest: dict[str, Any]) -> Iterator[Markup]:
    for name in _LISTS_OF_STEPS:
        if name in rest and (made := plan(rest[name])) is not None:
            del rest[name]
            yield made


def _step(item: Any) -> Markup | None:
    """A step that says nothing but what a list shows of it."""
    if not isinstance(item, dict) or not all(isinstance(value, str) for value in item.values()):
        return None
    texts = [item[name] for name in _STEPS if name in item]
    if len(texts) != 1 or "status" not in item or not item.keys() <= {*_STEPS, "status", *_MORE_OF_STEPS}:
        return None
    status = item["status"]
    more = [item[name] for name in _MORE_OF_STEPS if item.get(name, texts[0]) != texts[0]]
    return Markup('<li><span aria-hidden="true">{}</span> {} <small>{}</small></li>').format(
        _MARKS.get(status, "☐"), line(texts[0]), line(" · ".join((status.replace("_", " "), *more)))
    )


def _has_lines(value: Any) -> bool:
    return isinstance(value, str) and "\n" in value.strip()


def _of_file(text: str, path: str) -> Iterator[Markup]:
    if len(text.encode()) > MAX_LAID_OUT_BYTES:
        yield from preformatted(slices(text))
        return
    suffix = path.rpartition(".")[2]
    yield Markup('<pre dir="auto" lang=""><code>{}</code></pre>\n').format(highlighted(plain(text), suffix))
