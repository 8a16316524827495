"""What the requests and notifications of the agent mean, and the client's answers to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from mandrake_sessions.acp.calls import Call
from mandrake_sessions.acp.client_calls import version_of
from mandrake_sessions.acp.members import Json, Object, list_of, object_of, text_of
from mandrake_sessions.acp.rounds import Round
from mandrake_sessions.acp.secret_members import without_secrets
from mandrake_sessions.acp.talk import Talk
from mandrake_sessions.acp.talks import Talks
from mandrake_sessions.acp.terminals import exit_status_of
from mandrake_sessions.acp.updates import change_call
from mandrake_sessions.acp.versions import Answer, Answered
from mandrake_sessions.ids import new_id

AgentCall = Callable[[Talks, Talk, Object, int], Answer | None]


def _updated(talks: Talks, talk: Talk, params: Object, at: int) -> None:
    update = object_of(params, "update")
    take = version_of(talks).updates.get(text_of(update, "sessionUpdate") or "")
    if take is None:
        # A kind that is not known says nothing that could be stored.
        talks.skip()
    else:
        take(talks, talk, update, at)


def _permission_asked(talks: Talks, talk: Talk, params: Object, at: int) -> Answer:
    options = [option for option in list_of(params, "options") if isinstance(option, dict)]
    about = version_of(talks).asked_about(params)
    question: Object = {"options": without_secrets(options)}
    for name in ("title", "description"):
        if (text := text_of(params, name)) is not None:
            question[name] = text
    round_, call, is_own = _call_asked_about(talks, talk, about, at)

    def answered(answer: Answered) -> None:
        chosen = _chosen(options, answer)
        round_.call(call, call.tell("permission", question | chosen), answer.at)
        if (text_of(chosen, "kind") or "").startswith("reject"):
            round_.call(call, call.reject(answer.at), answer.at)
        elif is_own:
            _end_own(round_, call, answer, is_granted="kind" in chosen)
        round_.answer(name_of_question, answer.at)

    name_of_question = new_id()
    round_.call(call, call.tell("permission", question), at)
    round_.ask(name_of_question, at)
    return answered


def _chosen(options: list[Object], answer: Answered) -> Object:
    """What the person chose, or why nothing was chosen."""
    outcome = object_of(answer.result, "outcome")
    name = text_of(outcome, "optionId")
    if answer.is_error:
        return {"outcome": "error", "message": text_of(answer.error, "message") or ""}
    if name is None:
        return {"outcome": text_of(outcome, "outcome") or "cancelled"}
    chosen: Object = {"outcome": text_of(outcome, "outcome") or "selected", "optionId": name}
    option = next((each for each in options if each.get("optionId") == name), {})
    return chosen | {member: text for member in ("name", "kind") if (text := text_of(option, member)) is not None}


def _elicited(talks: Talks, talk: Talk, params: Object, at: int) -> Answer:
    """A form to fill in, or a page to visit."""
    question = {
        name: without_secrets(params[name])
        for name in ("message", "mode", "requestedSchema", "elicitationId")
        if name in params
    }
    about: Object = {"toolCallId": text_of(params, "toolCallId"), "kind": "elicitation"}
    if about["toolCallId"] is None:
        about |= {"title": text_of(params, "message"), "rawInput": question}
    round_, call, is_own = _call_asked_about(talks, talk, about, at)

    def answered(answer: Answered) -> None:
        told: Object = {"action": text_of(answer.result, "action") or ("error" if answer.is_error else "cancel")}
        if content := object_of(answer.result, "content"):
            told["content"] = without_secrets(content)
        round_.call(call, call.tell("elicitation", question | told), answer.at)
        if is_own and told["action"] == "decline":
            round_.call(call, call.reject(answer.at), answer.at)
        elif is_own:
            _end_own(round_, call, answer, is_granted=told["action"] == "accept")
        round_.answer(name_of_question, answer.at)

    name_of_question = new_id()
    round_.call(call, call.tell("elicitation", question), at)
    round_.ask(name_of_question, at)
    return answered


def _call_asked_about(_talks: Talks, talk: Talk, about: Object, at: int) -> tuple[Round, Call, bool]:
    """The call that a question is about; one of the question's own where there is none, or none that is named."""
    about = {name: value for name, value in about.items() if value is not None}
    found = change_call(talk, about, at, is_new=False, clears=False)
    if found is not None:
        return (*found, False)
    found = change_call(talk, {**about, "toolCallId": f"question-{new_id()}"}, at, is_new=True, clears=False)
    assert found is not None
    return (*found, True)


def _end_own(round_: Round, call: Call, answer: Answered, *, is_granted: bool) -> None:
    status = "completed" if is_granted else "cancelled"
    round_.call(call, call.change({"status": status}, answer.at, _no_terminal, clears=False), answer.at)


def _no_terminal(_name: str) -> Json:
    raise LookupError


def _terminal_made(_talks: Talks, talk: Talk, params: Object, _at: int) -> Answer:
    def answered(answer: Answered) -> None:
        if (name := text_of(answer.result, "terminalId")) is not None:
            talk.terminal(name).describe(params)

    return answered


def _terminal_seen(talks: Talks, talk: Talk, params: Object, _at: int) -> Answer | None:
    """The output until now, or how the command has ended."""
    name = text_of(params, "terminalId")
    if name is None:
        talks.skip()
        return None
    terminal = talk.terminal(name)

    def answered(answer: Answered) -> None:
        if answer.is_error:
            return
        if (output := text_of(answer.result, "output")) is not None:
            terminal.see(output, is_cut=answer.result.get("truncated") is True)
        terminal.end(exit_status_of(answer.result))
        talk.show_terminal(terminal, answer.at)

    return answered


CALLS: Final[Mapping[str, AgentCall]] = {
    "session/update": _updated,
    "session/request_permission": _permission_asked,
    "elicitation/create": _elicited,
    "session/elicitation": _elicited,
    "terminal/create": _terminal_made,
    "terminal/output": _terminal_seen,
    "terminal/wait_for_exit": _terminal_seen,
}
