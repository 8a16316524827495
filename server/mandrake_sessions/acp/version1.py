"""Version 1 of the protocol: a prompt is answered when the agent has stopped."""

from __future__ import annotations

from typing import Final

from mandrake_sessions.acp import usage
from mandrake_sessions.acp.members import Object, list_of, object_of, text_of
from mandrake_sessions.acp.rounds import Round, Status
from mandrake_sessions.acp.secret_members import without_secrets
from mandrake_sessions.acp.talk import Talk
from mandrake_sessions.acp.updates import SHARED, called
from mandrake_sessions.acp.versions import Answer, Answered, Version


def prompt(talk: Talk, params: Object, at: int) -> Answer:
    round_ = talk.ask(list_of(params, "prompt"), at)
    return lambda answered: _answered(talk, round_, answered)


def _answered(talk: Talk, round_: Round, answered: Answered) -> None:
    if answered.is_error:
        fail(talk, round_, answered)
    else:
        stop(talk, round_, answered.result, answered.at)


def fail(talk: Talk, round_: Round, answered: Answered) -> None:
    """The agent has answered a prompt with an error; after a cancel, that is how some of them stop."""
    message = text_of(answered.error, "message") or "the agent answered with an error"
    details = text_of(object_of(answered.error, "data"), "details")
    error = message if details is None else f"{message}: {details}"
    status: Status = "cancelled" if round_.is_cancelled else "error"
    talk.end(round_, answered.at, status, error=error, metadata={"error": without_secrets(answered.error)})


def stop(talk: Talk, round_: Round, result: Object, at: int) -> None:
    """The agent has stopped; what it says of usage is of this round."""
    metadata: Object = {}
    counts = usage.counts_of(result)
    match usage.meaning(talk.agent):
        case "prompt":
            round_.use(counts)
        case "last reply":
            round_.use_at_last(counts)
        case "session" if counts:
            own, unknown = talk.totals.split(round_, counts)
            round_.use(own, unknown)
            talk.totals.see(counts)
    if meta := object_of(result, "_meta"):
        metadata["_meta"] = without_secrets(meta)
    reason = text_of(result, "stopReason")
    status: Status = "cancelled" if reason == "cancelled" else "completed"
    talk.end(round_, at, status, reason=reason, metadata=metadata)


def _asked_about(params: Object) -> Object:
    return object_of(params, "toolCall")


VERSION1: Final = Version(
    updates={
        **SHARED,
        "tool_call": called(is_new=True, clears=False),
        "tool_call_update": called(is_new=False, clears=False),
    },
    prompt=prompt,
    asked_about=_asked_about,
    null_clears=False,
)
