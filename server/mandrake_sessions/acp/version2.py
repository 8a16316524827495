"""Version 2 of the protocol, a preview: a prompt is answered when it has its place in the conversation, and the agent
says when it works and when it has stopped."""

from __future__ import annotations

from typing import Final

from mandrake_sessions.acp.members import Object, list_of, object_of, text_of
from mandrake_sessions.acp.rounds import Round
from mandrake_sessions.acp.talk import Talk
from mandrake_sessions.acp.talks import Talks
from mandrake_sessions.acp.terminals import bytes_of
from mandrake_sessions.acp.updates import SHARED, called, hear, heard, put_message
from mandrake_sessions.acp.version1 import fail, stop
from mandrake_sessions.acp.versions import Answer, Answered, Update, Version


def prompt(talk: Talk, params: Object, at: int) -> Answer:
    round_ = talk.ask(list_of(params, "prompt"), at)
    return lambda answered: _answered(talk, round_, answered)


def _answered(talk: Talk, round_: Round, answered: Answered) -> None:
    if answered.is_error:
        fail(talk, round_, answered)
    elif round_.message_id is None:
        round_.message_id = text_of(answered.result, "messageId")
    if text_of(answered.result, "stopReason") is not None:
        # As in version 1.
        stop(talk, round_, answered.result, answered.at)


def _user_message(talks: Talks, talk: Talk, update: Object, at: int) -> None:
    """The agent says where a message stands: that of a prompt, or one that nobody sent through us."""
    name = text_of(update, "messageId")
    if name is None:
        talks.skip()
    elif not talk.is_replaying and not _insert(talk, name, at):
        known = next((each for each in talk.running if each.message_id == name and each.is_in_pieces), None)
        if known is not None:
            if "content" in update:
                talk.hear_more(known, list_of(update, "content"), is_whole=True)
        elif not any(each.message_id == name for each in talk.past):
            hear_new(talk, update, name, at)


def hear_new(talk: Talk, update: Object, name: str, at: int) -> None:
    last = talk.running[-1] if talk.running else None
    if last is None or last.is_in_pieces or last.origin == "agent":
        talk.heard_of(list_of(update, "content"), at, name)
    else:
        put_message(talk, "user_message", name, list_of(update, "content"), {"messageId": name}, at)


def _user_piece(talks: Talks, talk: Talk, update: Object, at: int) -> None:
    name, block = text_of(update, "messageId"), update.get("content")
    if name is None or not isinstance(block, dict):
        heard(talks, talk, update, at)
    elif not (talk.is_replaying or _insert(talk, name, at) or any(each.message_id == name for each in talk.past)):
        hear(talk, [block], name, at)


def _insert(talk: Talk, name: str, at: int) -> bool:
    """Whether a message is that of a prompt. The prompts before it are over, for what follows belongs to it."""
    sent = [each for each in talk.running if not each.is_in_pieces and each.origin == "user"]
    found = next((each for each in sent if each.message_id == name), None)
    if found is None:
        # The answer with its id may come later.
        found = next((each for each in sent if each.message_id is None), None)
    if found is None:
        return False
    found.message_id = name
    if not found.is_inserted:
        found.is_inserted = True
        for each in talk.running[: talk.running.index(found)]:
            talk.end(each, at)
    return True


def _message(kind: str) -> Update:
    def take(talks: Talks, talk: Talk, update: Object, at: int) -> None:
        name = text_of(update, "messageId")
        if name is None:
            talks.skip()
        elif not talk.is_replaying:
            blocks = list_of(update, "content") if "content" in update else None
            put_message(talk, kind, name, blocks, {"messageId": name}, at)

    return take


def _stood(_talks: Talks, talk: Talk, update: Object, at: int) -> None:
    """Whether the agent works. A snapshot that says the same again is nothing new."""
    state = text_of(update, "state")
    if talk.is_replaying:
        return
    working = talk.running[0] if talk.running else None
    if state == "running":
        working = talk.current(at) if working is None else working
        working.is_at_work = True
        if not working.questions:
            working.stand("open", at)
    elif state == "requires_action" and working is not None:
        working.stand("requires_action", at)
    elif state == "idle" and working is not None:
        _rest(talk, working, update, at)


def _rest(talk: Talk, working: Round, update: Object, at: int) -> None:
    reason = text_of(update, "stopReason")
    if reason is None and not working.is_at_work:
        return
    if reason == "error":
        error = object_of(update, "error")
        message = text_of(error, "message") or text_of(update, "message") or "the agent stopped with an error"
        fail(talk, working, Answered({}, {**error, "message": message}, True, at))
    else:
        stop(talk, working, update, at)
    # They have their place before the end, and got no work of their own.
    for each in [each for each in talk.running if each.is_inserted]:
        talk.end(each, at)


def _content_added(talks: Talks, talk: Talk, update: Object, at: int) -> None:
    name, item = text_of(update, "toolCallId"), update.get("content")
    if not name or not isinstance(item, dict):
        talks.skip()
    elif not talk.is_replaying:
        round_, call = talk.of_call(name, at, is_new=False)
        round_.call(call, call.add(item, at, talk.terminal), at)


def _terminal(talks: Talks, talk: Talk, update: Object, at: int) -> None:
    name = text_of(update, "terminalId")
    if name is None:
        talks.skip()
        return
    terminal = talk.terminal(name)
    terminal.describe(update)
    if "output" in update:
        output = bytes_of(update["output"]) if update["output"] is not None else b""
        if output is None:
            talks.skip()
        else:
            terminal.see(output)
    terminal.end(update.get("exitStatus"))
    talk.show_terminal(terminal, at)


def _terminal_said(talks: Talks, talk: Talk, update: Object, at: int) -> None:
    name, output = text_of(update, "terminalId"), bytes_of(update)
    if name is None or output is None:
        talks.skip()
        return
    terminal = talk.terminal(name)
    terminal.see_more(output)
    talk.show_terminal(terminal, at)


def _asked_about(params: Object) -> Object:
    """The call itself; or a command, which may be that of a call."""
    subject = object_of(params, "subject")
    if call := object_of(subject, "toolCall") or object_of(params, "toolCall"):
        return call
    asked: Object = {
        "title": text_of(params, "title"),
        "kind": "permission",
        "toolCallId": text_of(subject, "toolCallId"),
    }
    about = {name: text for name in ("command", "cwd") if (text := text_of(subject, name)) is not None}
    if asked["toolCallId"] is not None:
        return {"toolCallId": asked["toolCallId"]}
    return asked | ({"rawInput": about} if about else {})


VERSION2: Final = Version(
    updates={
        **SHARED,
        "user_message_chunk": _user_piece,
        "user_message": _user_message,
        "agent_message": _message("message"),
        "agent_thought": _message("thought"),
        "state_update": _stood,
        "tool_call": called(is_new=True, clears=True),
        "tool_call_update": called(is_new=False, clears=True),
        "tool_call_content_chunk": _content_added,
        "terminal_update": _terminal,
        "terminal_output_chunk": _terminal_said,
    },
    prompt=prompt,
    asked_about=_asked_about,
    null_clears=True,
)
