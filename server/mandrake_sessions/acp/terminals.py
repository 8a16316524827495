"""What was seen of the terminals of tool calls: the command, the output as it was last seen, and how it ended."""

from __future__ import annotations

import base64
import binascii
from typing import Final

from attrs import define, field

from mandrake_sessions.acp.members import Json, Object, list_of, object_of, text_of
from mandrake_sessions.acp.secret_members import without_secrets

# Of the output of a terminal its end is kept.
_MAX_OUTPUT: Final = 1024 * 1024


@define(eq=False)
class Terminal:
    """``output``: text, or bytes where it comes as such. ``is_changed``: since it was last shown."""

    about: Object = field(factory=dict)
    output: str | bytes = ""
    is_cut: bool = False
    exit_status: Json = None
    is_changed: bool = False
    _shown: int = 0

    def describe(self, params: Object) -> None:
        """The command, from whoever starts it. Its environment is not kept."""
        for name in ("command", "cwd"):
            if (text := text_of(params, name)) is not None:
                self.about[name] = text
        if arguments := list_of(params, "args"):
            self.about["args"] = without_secrets(arguments)

    def see(self, output: str | bytes, *, is_cut: bool = False) -> None:
        """All output there is, or the end of it."""
        self.is_cut = is_cut or len(output) > _MAX_OUTPUT
        self._set(output[-_MAX_OUTPUT:])

    def see_more(self, output: bytes) -> None:
        before = self.output if isinstance(self.output, bytes) else self.output.encode(errors="replace")
        self.is_cut = self.is_cut or len(before) + len(output) > _MAX_OUTPUT
        self.output = (before + output)[-_MAX_OUTPUT:]
        self.is_changed = True
        self._shown += len(output)

    def end(self, exit_status: Json) -> None:
        if isinstance(exit_status, dict) and exit_status != self.exit_status:
            kept = {name: exit_status[name] for name in ("exitCode", "signal") if exit_status.get(name) is not None}
            self.exit_status, self.is_changed = kept, True

    def is_worth_showing(self) -> bool:
        """Whether so much has changed that it is told now: output that grows by little is told later, with more."""
        return self.is_changed and (self.exit_status is not None or self._shown * 8 >= len(self.output))

    def shown(self) -> Object:
        self.is_changed, self._shown = False, 0
        output = self.output if isinstance(self.output, str) else self.output.decode(errors="replace")
        shown: Object = dict(self.about)
        if output or self.exit_status is not None:
            shown["output"] = output
        if self.is_cut:
            shown["truncated"] = True
        if self.exit_status is not None:
            shown["exitStatus"] = self.exit_status
        return shown

    def _set(self, output: str | bytes) -> None:
        if output != self.output:
            self._shown += max(1, len(output) - len(self.output))
            self.output, self.is_changed = output, True


def bytes_of(value: Json, name: str = "data") -> bytes | None:
    """A member that is Base64; None for one that is none."""
    try:
        return base64.b64decode(text_of(value, name) or "", validate=True)
    except (binascii.Error, ValueError):
        return None


def exit_status_of(result: Object) -> Json:
    """Of `terminal/wait_for_exit` the members themselves, else a member."""
    return result if "exitCode" in result or "signal" in result else object_of(result, "exitStatus") or None
