"""The command ``mandrake-sessions doctor [--fix]``."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from mandrake_sessions.amounts import plural
from mandrake_sessions.commands.arguments import add_store, usage
from mandrake_sessions.commands.progress import shown_progress
from mandrake_sessions.commands.results import add_json, say_json
from mandrake_sessions.commands.shared import (
    DONE,
    FAILED,
    UNUSABLE,
    Meant,
    ended,
    say,
)
from mandrake_sessions.commands.words import COMMAND_WORDS
from mandrake_sessions.maintenance import Finding, Level, Repair, check_up, repair
from mandrake_sessions.maintenance.findings import is_damaged

DESCRIPTION = "Check everything about a store, and print what is wrong. Warnings are no problems."
EXAMPLE = "mandrake-sessions doctor --fix"
# Of a finding, where its text begins.
_TEXT_COLUMN = 22


def declare(parser: ArgumentParser) -> None:
    """Its arguments."""
    parser.usage = usage()
    add_store(parser)
    parser.add_argument("--fix", action="store_true", help="mend what is safe to mend, after a backup")
    add_json(parser, "one JSON object, for a program")


def run(options: Namespace) -> int:
    """0: no problem is left. 1: there are problems, or a repair failed of what no check tells. 2: the store cannot be
    checked."""
    return ended(options, lambda meant: _doctor(options, meant), failed=UNUSABLE)


def _doctor(options: Namespace, meant: Meant) -> int:
    found = _check_up(meant)
    repairs: list[Repair] = []
    if options.fix and any(finding.cure for finding in found):
        repairs = repair(
            meant.database,
            found,
            busy_timeout=meant.busy_timeout,
            allow_network_filesystem=meant.allow_network_filesystem,
        )
        repairs = [done.worded(COMMAND_WORDS) for done in repairs]
        found = _check_up(meant)
    if options.json:
        listed = {
            "findings": [_values(finding, "check", "level", "text", "cure", "advice") for finding in found],
            "repairs": [_values(done, "done", "text") for done in repairs],
        }
        say_json({"database": meant.database, **listed})
    else:
        _report(meant.database, found, repairs, fixed=options.fix)
    return FAILED if _count(found, Level.PROBLEM) or _is_told_by_repairs_alone(found, repairs) else DONE


def _is_told_by_repairs_alone(found: list[Finding], repairs: list[Repair]) -> bool:
    """Whether a repair failed, as on a full disk, of what the checks take for in order."""
    is_told = any(finding.cure is not None and finding.level is not Level.OK for finding in found)
    return not is_told and not all(done.done for done in repairs)


def _check_up(meant: Meant) -> list[Finding]:
    with shown_progress() as progress:
        found = check_up(meant.database, busy_timeout=meant.busy_timeout, progress=progress)
    return [finding.worded(COMMAND_WORDS) for finding in found]


def _values(of: Finding | Repair, *names: str) -> dict[str, object]:
    return {name: getattr(of, name) for name in names}


def _report(database: str, found: list[Finding], repairs: list[Repair], *, fixed: bool) -> None:
    for done in repairs:
        say(f"{'fixed' if done.done else 'not fixed'}: {done.text}")
    for finding in found:
        say(f"{finding.level:<8} {finding.check:<12} {finding.text}", indent=_TEXT_COLUMN)
    say()
    problems, warnings = _count(found, Level.PROBLEM), _count(found, Level.WARNING)
    if _is_told_by_repairs_alone(found, repairs):
        say("A repair failed.")
        if not problems and not warnings:
            return
    elif not problems and not warnings:
        say("All is well.")
        return
    say(f"{plural(problems, 'problem')}, {plural(warnings, 'warning')}.")
    for advice in _advice(database, found, fixed=fixed):
        say(f"- {advice}", indent=2)


def _advice(database: str, found: list[Finding], *, fixed: bool) -> list[str]:
    """What the user can do next, without repetition."""
    advice = [finding.advice for finding in found if finding.advice is not None]
    if is_damaged(found):
        advice.insert(0, "the tables are damaged, so --fix does not write to the file")
    elif not fixed and any(finding.cure for finding in found):
        advice.insert(0, f"`{COMMAND_WORDS.maintenance('repair', database)}` mends what it can, after a backup")
    return list(dict.fromkeys(advice))


def _count(found: list[Finding], level: Level) -> int:
    return sum(finding.level is level for finding in found)
