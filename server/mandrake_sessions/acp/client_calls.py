"""What the requests and notifications of the client mean, and the agent's answers to them. Authentication is not here:
nothing of it is looked at."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from mandrake_sessions.acp.members import Object, list_of, object_of, text_of
from mandrake_sessions.acp.secret_members import without_secrets
from mandrake_sessions.acp.talks import Talks, choices
from mandrake_sessions.acp.version1 import VERSION1
from mandrake_sessions.acp.version2 import VERSION2
from mandrake_sessions.acp.versions import Answer, Answered, Version

# Gives what is done with the answer, None where nothing is.
Call = Callable[[Talks, Object, int], Answer | None]


def version_of(talks: Talks) -> Version:
    return VERSION2 if talks.version >= 2 else VERSION1


def _initialize(talks: Talks, params: Object, _at: int) -> Answer:
    talks.client = object_of(params, "clientInfo") or object_of(params, "info")

    def answered(answer: Answered) -> None:
        if not answer.is_error:
            talks.agree(answer.result)

    return answered


def _new(talks: Talks, params: Object, _at: int) -> Answer:
    cwd = text_of(params, "cwd")

    def answered(answer: Answered) -> None:
        if (session := text_of(answer.result, "sessionId")) is not None:
            talk = talks.begin(session, answer.at, cwd=cwd)
            talk.describe(**choices(answer.result), **_directories(params))
            talks.release(talk)

    return answered


def _load(talks: Talks, params: Object, _at: int) -> Answer | None:
    """Also of `session/resume`: what comes before the answer is a replay."""
    session, cwd = text_of(params, "sessionId"), text_of(params, "cwd")
    if session is None:
        talks.skip()
        return None
    talk = talks.await_load(session)

    def answered(answer: Answered) -> None:
        if answer.is_error:
            talks.not_loaded(talk)
            return
        talks.loaded(talk, answer.at, cwd)
        talk.describe(**choices(answer.result), **_directories(params))

    return answered


def _fork(talks: Talks, params: Object, _at: int) -> Answer:
    """What comes for the new session before the answer is a replay of its parent."""
    parent, cwd = text_of(params, "sessionId"), text_of(params, "cwd")

    def answered(answer: Answered) -> None:
        session = text_of(answer.result, "sessionId")
        if session is None:
            return
        talk = talks.await_load(session)
        talks.begin(session, answer.at, cwd=cwd, parent=parent, relation="fork")
        talks.inherit(talk, talks.get(parent) if parent is not None else None)
        talks.release(talk)
        talk.loads = max(0, talk.loads - 1)
        talk.describe(**choices(answer.result), **_directories(params))

    return answered


def _list(talks: Talks, _params: Object, _at: int) -> Answer:
    def answered(answer: Answered) -> None:
        for each in list_of(answer.result, "sessions"):
            session, title = text_of(each, "sessionId"), text_of(each, "title")
            if session is not None and title is not None:
                talks.list(session, title)

    return answered


def _prompt(talks: Talks, params: Object, at: int) -> Answer | None:
    session = text_of(params, "sessionId")
    if session is None:
        talks.skip()
        return None
    talk = talks.begin(session, at)
    talks.release(talk)
    return version_of(talks).prompt(talk, params, at)


def _cancel(talks: Talks, params: Object, _at: int) -> None:
    if (talk := talks.get(text_of(params, "sessionId") or "")) is not None:
        for each in talk.running:
            each.is_cancelled = True


def _choose(talks: Talks, params: Object, _at: int) -> Answer | None:
    """A mode, a model or an option is chosen, if the agent agrees."""
    talk = talks.get(text_of(params, "sessionId") or "")
    if talk is None:
        return None
    chosen = {"mode": text_of(params, "modeId"), "model": text_of(params, "modelId")}

    def answered(answer: Answered) -> None:
        if not answer.is_error:
            talk.describe(**(chosen | choices(answer.result)))

    return answered


def _name(talks: Talks, params: Object, _at: int) -> Answer | None:
    talk = talks.get(text_of(params, "sessionId") or "")
    if talk is None:
        return None
    return lambda answer: talk.describe(text_of(answer.result, "title"))


def _close(talks: Talks, params: Object, _at: int) -> Answer | None:
    """Also of `session/delete`: the agent forgets the session, and what runs in it is over."""
    talk = talks.get(text_of(params, "sessionId") or "")
    if talk is None:
        return None

    def answered(answer: Answered) -> None:
        if not answer.is_error:
            talk.stop(answer.at, "cancelled", None)
            talk.rest()
            talks.forget(talk.name)

    return answered


def _directories(params: Object) -> Object:
    directories = list_of(params, "additionalDirectories")
    return {"additionalDirectories": without_secrets(directories)} if directories else {}


CALLS: Final[Mapping[str, Call]] = {
    "initialize": _initialize,
    "session/new": _new,
    "session/load": _load,
    "session/resume": _load,
    "session/fork": _fork,
    "session/list": _list,
    "session/prompt": _prompt,
    "session/cancel": _cancel,
    "session/set_mode": _choose,
    "session/set_model": _choose,
    "session/set_config_option": _choose,
    "session/set_title": _name,
    "session/close": _close,
    "session/delete": _close,
}
