"""What ``import`` says: of what there is, of each source, and of all of them."""

from __future__ import annotations

import shlex
import sys
from argparse import Namespace

from attrs import Factory, define

from mandrake_sessions.amounts import plural, size_text
from mandrake_sessions.commands.arguments import settings_of
from mandrake_sessions.commands.filters import is_about
from mandrake_sessions.commands.results import say_json
from mandrake_sessions.commands.shared import flush, place_of, say
from mandrake_sessions.folding import hint
from mandrake_sessions.importing.finding import Found
from mandrake_sessions.importing.one_reading import Outcome
from mandrake_sessions.importing.reading import storable
from mandrake_sessions.manager import SessionManager

# So many lines of a source that cannot be read are named.
_SHOWN = 5
_WORDS = {
    "new": "new",
    "grown": "changed since",
    "unchanged": "brought in before",
    "live": "recorded here while they went on",
    "deleted": "deleted here",
    "failed": "with a name that cannot be",
}


@define
class Totals:
    read: int = 0
    sessions: int = 0
    rounds: int = 0
    turns: int = 0
    calls: int = 0
    problems: int = 0
    # New ones that had nothing in them.
    empty: int = 0
    # Of new ones.
    session_ids: list[str] = Factory(list)

    def add(self, outcome: Outcome) -> None:
        counts = outcome.counts
        self.read += 1
        self.sessions += counts.sessions
        if counts.sessions and outcome.session_id is not None:
            self.session_ids.append(outcome.session_id)
        self.rounds += counts.rounds
        self.turns += counts.turns
        self.calls += counts.calls
        self.empty += outcome.what == "new" and not (counts.sessions or outcome.broken)
        self.problems += outcome.what in ("failed", "rewritten") or bool(outcome.broken)


def tell_plan(found: Found, looked: list[Outcome], into: str, options: Namespace) -> None:
    """What there is, how much, and where it goes; and what cannot be looked at."""
    if options.json:
        for outcome in looked if options.dry_run else ():
            _say_outcome(outcome)
    else:
        _say_plan(looked, into, has_named=bool(options.sources))
    for trouble in found.troubles:
        hint(trouble)
    for name, places in found.empty.items():
        where = f", in {' and '.join(places)}" if places else ": name its files or directories"
        hint(f"{name}: nothing was found{where}")


def _say_plan(looked: list[Outcome], into: str, *, has_named: bool) -> None:
    for name in dict.fromkeys(outcome.source.reader for outcome in looked):
        of_it = [outcome for outcome in looked if outcome.source.reader == name]
        size = size_text(sum(outcome.source.size for outcome in of_it))
        kinds = [
            f"{sum(outcome.what == what for outcome in of_it)} {word}"
            for what, word in _WORDS.items()
            if any(outcome.what == what for outcome in of_it)
        ]
        say(f"{name}: {plural(len(of_it), 'conversation')}, {size}: {', '.join(kinds)}")
    if not looked:
        why = "" if has_named else ": no known program has left conversations where it keeps them"
        say(f"There is nothing to bring in{why}.")
    else:
        say(f"into {into}")
    flush()


def tell_outcome(outcome: Outcome, options: Namespace) -> None:
    if options.json:
        if outcome.what != "unchanged":
            _say_outcome(outcome)
        return
    place = storable(outcome.source.path)
    if outcome.what == "failed":
        hint(f"{place}: was not brought in: {outcome.reason}")
    elif outcome.reason is not None:
        hint(f"{place}: {outcome.reason}")
    for broken in outcome.broken[:_SHOWN]:
        left_out = "; the line was left out" if broken.is_left_out else ""
        line = f":{broken.line}" if broken.line else ""
        hint(f"{place}{line}: {broken.reason}{left_out}")
    more = outcome.more_broken + len(outcome.broken[_SHOWN:])
    if more:
        where = "" if outcome.more_broken else "; --json names each"
        hint(f"{place}: {plural(more, 'more such line')}{where}")


def _say_outcome(outcome: Outcome) -> None:
    source, counts = outcome.source, outcome.counts
    say_json(
        {
            "type": "source", "reader": source.reader, "agent": source.agent, "path": storable(source.path),
            "external_id": storable(source.external_id), "bytes": source.size, "what": outcome.what,
            "session_id": outcome.session_id, "rounds": counts.rounds, "turns": counts.turns,
            "tool_calls": counts.calls, "kept": counts.kept, "reason": outcome.reason,
            "more_broken": outcome.more_broken,
            "broken": [{"line": each.line or None, "reason": each.reason} for each in outcome.broken],
        }
    )  # fmt: skip


def tell_totals(totals: Totals, of: int, manager: SessionManager, options: Namespace) -> None:
    if options.json:
        say_json(
            {
                "type": "end", "sources": of, "read": totals.read, "sessions": totals.sessions, "rounds": totals.rounds,
                "turns": totals.turns, "tool_calls": totals.calls, "problems": totals.problems,
                "is_complete": totals.read == of,
            }
        )  # fmt: skip
        return
    if not (totals.sessions or totals.rounds or totals.turns or totals.calls):
        say("nothing new")
        _tell_rest(totals, of)
        return
    parts = [
        plural(totals.sessions, "session"),
        plural(totals.rounds, "round"),
        plural(totals.turns, "turn"),
        plural(totals.calls, "tool call"),
    ]
    say(f"{', '.join(parts)} brought in")
    _tell_rest(totals, of)
    if totals.sessions and (flags := _where_to_look(totals, manager, options)):
        say(f"mandrake-sessions list {flags} shows them")
    if sys.stdout.isatty() and totals.sessions and not options.follow:
        hint("mandrake-sessions import --follow brings in what is written from now on.")


def _where_to_look(totals: Totals, manager: SessionManager, options: Namespace) -> str:
    """The flags with which ``list`` shows all that came; empty where it needs none."""
    if options.database:
        return f"--database {shlex.quote(options.database)}"
    if options.workspace:
        return f"--workspace {shlex.quote(options.workspace)}"
    if options.scope == "workspace":
        return ""
    workspace = place_of(settings_of(options), "workspace").workspace
    came = map(manager.get_session, totals.session_ids)
    return "" if workspace and all(is_about(session, workspace) for session in came) else "--all"


def _tell_rest(totals: Totals, of: int) -> None:
    if totals.empty:
        say(f"no conversation, or none yet, was in {plural(totals.empty, 'new file')}")
    if totals.read < of:
        hint(f"Stopped: {totals.read} of {of} conversations were looked at. Run it again to go on.")
