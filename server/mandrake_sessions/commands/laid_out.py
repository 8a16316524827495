"""A Markdown document as a terminal shows it. Only ``show`` loads this: Rich takes long to load."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator
from typing import Any, ClassVar

from rich.console import Console, ConsoleOptions, RenderResult
from rich.markdown import (
    BlockQuote,
    CodeBlock,
    HorizontalRule,
    ListElement,
    ListItem,
    Markdown,
    MarkdownContext,
    MarkdownElement,
    Paragraph,
    TableElement,
)
from rich.table import Table
from rich.text import Text

from mandrake_sessions.commands.styles import is_colored
from mandrake_sessions.exports import AS_TYPED
from mandrake_sessions.folding import fold
from mandrake_sessions.quoting import printable

# A line that is not longer than this reads well.
_WIDTH = 100
# A column of a table with less room is no column to the eye.
_LEAST_COLUMN = 6
# Characters of a section that is laid out; what is longer, and would take seconds, is shown as Markdown.
_MOST = 128 * 1024
_TYPED = re.compile(rf"^(`+){AS_TYPED}$", re.MULTILINE)
# Where stdout is no terminal.
_USUAL_WIDTH = 80


def laid_out(sections: Iterator[str]) -> Iterator[str]:
    """The lines of a document that comes in sections."""
    room = shutil.get_terminal_size().columns if sys.stdout.isatty() else _USUAL_WIDTH
    options: dict[str, Any] = {} if is_colored() else {"no_color": True, "color_system": None}
    console = Console(width=min(room, _WIDTH), force_terminal=is_colored(), highlight=False, **options)
    for section in sections:
        if len(section) > _MOST:
            for line in _TYPED.sub(r"\1", printable(section)).split("\n"):
                yield from fold(line, console.width).split("\n")
            continue
        with console.capture() as captured:
            console.print(_Document(printable(section)))
            console.print()
        yield from map(str.rstrip, captured.get().splitlines())


def _needs_gap(before: MarkdownElement | None, after: MarkdownElement) -> bool:
    """Whether an empty line belongs between the two: code and tables have one of their own, and so has a rule after
    it."""
    if before is None or isinstance(before, HorizontalRule):
        return False
    return not any(isinstance(each, CodeBlock | TableElement) for each in (before, after))


class _Paragraph(Paragraph):
    """``is_tight``: it is in a list whose items stand without empty lines between them."""

    is_tight = False

    @classmethod
    def create(cls, markdown: Markdown, token: Any) -> Paragraph:
        made = super().create(markdown, token)
        assert isinstance(made, _Paragraph)
        made.is_tight = token.hidden
        return made


class _Quote(BlockQuote):
    """Rich's own leaves out the empty lines between the paragraphs of a quote."""

    _before: MarkdownElement | None = None

    def on_child_close(self, context: MarkdownContext, child: MarkdownElement) -> bool:
        if _needs_gap(self._before, child):
            self.elements.append(Text())
        self._before = child
        return super().on_child_close(context, child)


class _Item(ListItem):
    """The same of an item of a list, where the list has empty lines between its items."""

    is_loose = False
    _before: MarkdownElement | None = None

    def on_child_close(self, context: MarkdownContext, child: MarkdownElement) -> bool:
        self.is_loose = self.is_loose or (isinstance(child, _Paragraph) and not child.is_tight)
        if self.is_loose and _needs_gap(self._before, child):
            self.elements.append(Text())
        self._before = child
        return super().on_child_close(context, child)


class _List(ListElement):
    def on_child_close(self, context: MarkdownContext, child: MarkdownElement) -> bool:
        before = self.items[-1] if self.items else None
        if isinstance(before, _Item) and before.is_loose:
            before.elements.append(Text())
        return super().on_child_close(context, child)


class _Typed(BlockQuote):
    """What a person typed: its lines stay lines, with their indentation."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        self.text.rstrip()
        self.elements.append(self.text)
        yield from super().__rich_console__(console, options)


class _Table(TableElement):
    """Rich's own cuts words that are wider than their column, and columns for which there is no room."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for table in super().__rich_console__(console, options):
            assert isinstance(table, Table)
            if len(table.columns) * _LEAST_COLUMN > options.max_width:
                yield from self._as_list()
                continue
            for column in table.columns:
                column.overflow = "fold"
            yield table

    def _as_list(self) -> Iterator[Text]:
        """A line for each cell, after the name of its column."""
        assert self.header is not None
        assert self.header.row is not None
        names = [cell.content for cell in self.header.row.cells]
        for row in () if self.body is None else self.body.rows:
            yield Text()
            for name, cell in zip(names, row.cells, strict=True):
                yield Text.assemble(name, ": ", cell.content)


class _Fence(CodeBlock):
    @classmethod
    def create(cls, markdown: Markdown, token: Any) -> Any:
        return _Typed() if token.info == AS_TYPED else super().create(markdown, token)


class _Document(Markdown):
    elements: ClassVar = {
        **Markdown.elements,
        "paragraph_open": _Paragraph,
        "blockquote_open": _Quote,
        "list_item_open": _Item,
        "bullet_list_open": _List,
        "ordered_list_open": _List,
        "fence": _Fence,
        "table_open": _Table,
    }
