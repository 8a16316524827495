"""What the kinds of `session/update` mean that both versions have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from mandrake_sessions.acp import usage
from mandrake_sessions.acp.blocks import is_text, kept_block, text_of_block, text_of_blocks
from mandrake_sessions.acp.calls import Call
from mandrake_sessions.acp.members import Json, Object, list_of, object_of, text_of
from mandrake_sessions.acp.rounds import Round
from mandrake_sessions.acp.secret_members import without_secrets
from mandrake_sessions.acp.talk import Talk
from mandrake_sessions.acp.talks import Talks, choices
from mandrake_sessions.acp.versions import Update

_BOXES: Final = {"completed": "[x]", "in_progress": "[~]", "cancelled": "[-]"}
# What some agents put into the conversation as if a person had said it.
_NOT_ASKED: Final = ("[Request interrupted by user",)


def said(kind: str) -> Update:
    """A piece of what the agent says."""

    def take(talks: Talks, talk: Talk, update: Object, at: int) -> None:
        if isinstance(update.get("content"), dict):
            talk.say(kind, update["content"], text_of(update, "messageId"), at, parent_call(update))
        else:
            talks.skip()

    return take


def heard(talks: Talks, talk: Talk, update: Object, at: int) -> None:
    """A piece of what was asked: the agent repeats a prompt, or there is one that nobody sent through us."""
    block = update.get("content")
    if not isinstance(block, dict):
        talks.skip()
        return
    if talk.is_replaying:
        return
    hear(talk, [block], text_of(update, "messageId"), at)


def hear(talk: Talk, blocks: list[Json], name: str | None, at: int) -> None:
    text = text_of_blocks(blocks)
    if text.startswith(_NOT_ASKED):
        return
    last = talk.running[-1] if talk.running else None
    if last is not None and last.is_in_pieces and not last.has_output and last.message_id == name:
        talk.hear_more(last, blocks)
    elif last is None or last.is_in_pieces or last.origin == "agent":
        talk.heard_of(blocks, at, name)
    elif not _is_echo(talk, text, name):
        # Somebody has said it to the agent while it worked.
        for block in blocks:
            talk.say("user_message", block, name, at)


def _is_echo(talk: Talk, text: str, name: str | None) -> bool:
    """Whether it is a part of a prompt that is known. Before an agent says anything it can be nothing else, though it
    may look another way."""
    working = talk.running[0]
    if not working.has_output or (name is not None and any(each.message_id == name for each in talk.running)):
        return True
    return not text.strip() or any(text.strip() in each.text for each in talk.running)


def parent_call(update: Object) -> str | None:
    """The call of a subagent that works in the same session."""
    return text_of(object_of(object_of(update, "_meta"), "claudeCode"), "parentToolUseId")


def change_call(talk: Talk, update: Object, at: int, *, is_new: bool, clears: bool) -> tuple[Round, Call] | None:
    """What a message says of a tool call, which is made if it is not known. None where the message names none."""
    name = text_of(update, "toolCallId")
    if name is None or not name:
        return None
    round_, call = talk.of_call(name, at, is_new=is_new, parent=parent_call(update))
    round_.call(call, call.change(update, at, talk.terminal, clears=clears), at)
    return round_, call


def called(*, is_new: bool, clears: bool) -> Update:
    def take(talks: Talks, talk: Talk, update: Object, at: int) -> None:
        if not talk.is_replaying and change_call(talk, update, at, is_new=is_new, clears=clears) is None:
            talks.skip()

    return take


def plan(talks: Talks, talk: Talk, update: Object, at: int) -> None:
    """The one plan of a prompt, as a whole."""
    if isinstance(update.get("entries"), list):
        _put_plan(talk, "", update["entries"], at)
    else:
        talks.skip()


def plan_update(talks: Talks, talk: Talk, update: Object, at: int) -> None:
    """One of several plans, by its id."""
    given = object_of(update, "plan")
    name = text_of(given, "planId")
    if name is None:
        talks.skip()
    elif isinstance(given.get("entries"), list):
        _put_plan(talk, name, given["entries"], at)
    elif not talk.is_replaying:
        text = text_of(given, "content") or text_of(given, "uri") or ""
        metadata = {"planId": name, "plan": without_secrets(given)}
        talk.of_turn("plan", name, at).put("plan", text, at, name, metadata, is_ended=False)


def plan_removed(_talks: Talks, talk: Talk, update: Object, at: int) -> None:
    if (name := text_of(update, "planId")) is not None and not talk.is_replaying:
        talk.of_turn("plan", name, at).show("plan_removed", "", at, {"planId": name})


def _put_plan(talk: Talk, name: str, entries: list[Json], at: int) -> None:
    if talk.is_replaying:
        return
    lines = [
        f"- {_BOXES.get(text_of(entry, 'status') or '', '[ ]')} {text_of(entry, 'content') or ''}"
        for entry in entries
        if isinstance(entry, dict)
    ]
    metadata: Object = {"entries": without_secrets(entries)}
    if name:
        metadata["planId"] = name
    # Without an id it is the plan of the round that is at work.
    round_ = talk.of_turn("plan", name, at) if name else talk.current(at)
    round_.put("plan", "\n".join(lines), at, name, metadata, is_ended=False)


def used(_talks: Talks, talk: Talk, update: Object, at: int) -> None:
    """How full the context is, and the running cost of the session."""
    cost = usage.cost_of(update)
    totals = {} if cost is None else {"cost": cost[0], "currency": cost[1]}
    talk.use(usage.context_of(update), totals)
    origin = object_of(object_of(update, "_meta"), "_claude/origin")
    latest = talk.running[0] if talk.running else None
    if latest is not None and latest.origin == "agent" and text_of(origin, "kind") == "task-notification":
        # So the agent ends an answer that nobody asked for.
        talk.end(latest, at)


def informed(_talks: Talks, talk: Talk, update: Object, _at: int) -> None:
    talk.describe(text_of(update, "title"))


def mode_changed(_talks: Talks, talk: Talk, update: Object, _at: int) -> None:
    talk.describe(mode=text_of(update, "currentModeId"))


def options_changed(_talks: Talks, talk: Talk, update: Object, _at: int) -> None:
    talk.describe(**choices(update))


def noticed(_talks: Talks, talk: Talk, update: Object, at: int) -> None:
    """A notice to whoever reads."""
    if talk.is_replaying:
        return
    texts = [text for name in ("title", "description") if (text := text_of(update, name))]
    metadata = {"severity": text_of(update, "severity") or "info"}
    (talk.latest() or talk.current(at)).show("notice", "\n\n".join(texts), at, metadata)


def compacted(talks: Talks, talk: Talk, update: Object, at: int) -> None:
    """The agent has shortened what it knows of the conversation, or is about to."""
    name = text_of(update, "compactionId")
    if name is None:
        talks.skip()
        return
    if talk.is_replaying:
        return
    status = text_of(update, "status") or "in_progress"
    metadata: Object = {"compactionId": name, "status": status}
    if (error := text_of(update, "error")) is not None:
        metadata["error"] = error
    round_ = talk.of_turn("compaction", name, at)
    if not round_.has_turn("compaction", name) or "summary" in update or status != "in_progress":
        # The summary may have come in pieces before.
        text = text_of_blocks(list_of(update, "summary"))
        if not text and round_.has_turn("compaction", name):
            round_.show("compaction", "", at, metadata)
            return
        round_.put("compaction", text, at, name, metadata, is_ended=False)


def compaction_said(talks: Talks, talk: Talk, update: Object, at: int) -> None:
    name, block = text_of(update, "compactionId"), update.get("content")
    if name is None or not isinstance(block, dict):
        talks.skip()
    elif not talk.is_replaying:
        metadata = {"compactionId": name, "status": "in_progress"}
        talk.of_turn("compaction", name, at).say("compaction", text_of_block(block), at, name, metadata)


def message_passed(talks: Talks, talk: Talk, update: Object, at: int) -> None:
    """What one session says to another."""
    name = text_of(update, "messageId")
    if name is None:
        talks.skip()
        return
    if talk.is_replaying:
        return
    blocks = list_of(update, "content")
    members = ("senderSessionId", "recipientSessionId", "senderMessageId", "recipientMessageId")
    metadata: Object = {member: text for member in members if (text := text_of(update, member)) is not None}
    metadata["messageId"] = name
    put_message(talk, "session_message", name, blocks if "content" in update else None, metadata, at)


def put_message(talk: Talk, kind: str, name: str, blocks: list[Json] | None, metadata: Object, at: int) -> None:
    """A message as a whole. None: nothing is said of its text."""
    round_ = talk.of_turn(kind, name, at)
    if blocks is None:
        if not round_.has_turn(kind, name):
            round_.put(kind, "", at, name, metadata, is_ended=False)
        return
    others = [kept_block(block) for block in blocks if not is_text(block)]
    shown = {**metadata, "blocks": others} if others else metadata
    round_.put(kind, text_of_blocks(blocks), at, name, shown, is_ended=False)


def message_piece_passed(talks: Talks, talk: Talk, update: Object, at: int) -> None:
    said("session_message")(talks, talk, update, at)


def began_another(talks: Talks, talk: Talk, update: Object, at: int) -> None:
    """The agent has begun a session below this one, which has updates of its own."""
    name = text_of(update, "sessionId")
    if name is None or name == talk.name:
        talks.skip()
        return
    was_known = talks.get(name) is not None
    call = text_of(update, "toolCallId") or text_of(object_of(update, "_meta"), "toolCallId")
    child = talks.begin(
        name, at, cwd=text_of(update, "cwd") or talk.cwd, parent=talk.name, relation="subagent", parent_tool_call=call
    )
    if not was_known:
        child.parent = talk
        talks.release(child)
    child.describe(text_of(update, "title"), description=text_of(update, "description"))
    state = object_of(update, "state")
    if text_of(state, "state") == "idle" and not talk.is_replaying:
        status = "cancelled" if text_of(state, "stopReason") == "cancelled" else "completed"
        for each in list(child.running):
            child.end(each, at, status, reason=text_of(state, "stopReason"))  # type: ignore[arg-type]


def nothing_of(_talks: Talks, _talk: Talk, _update: Object, _at: int) -> None:
    """It says nothing that is kept."""


SHARED: Final[Mapping[str, Update]] = {
    "agent_message_chunk": said("message"),
    "agent_thought_chunk": said("thought"),
    "user_message_chunk": heard,
    "plan": plan,
    "plan_update": plan_update,
    "plan_removed": plan_removed,
    "usage_update": used,
    "session_info_update": informed,
    "current_mode_update": mode_changed,
    "config_option_update": options_changed,
    "available_commands_update": nothing_of,
    "notice": noticed,
    "compaction_update": compacted,
    "compaction_summary_chunk": compaction_said,
    "session_message": message_passed,
    "session_message_chunk": message_piece_passed,
    "subagent_update": began_another,
}
