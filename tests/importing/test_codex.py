"""Rollouts of Codex: forms of older and newer versions, counts that go up, and rounds that were taken back."""

from __future__ import annotations

from typing import Any

import pytest

from importing.importing import Place
from importing.transcripts import codex, codex_event, codex_item, codex_path, write_lines
from mandrake_sessions import SessionManager

ONE = "01a21705-b70c-7ec1-b748-b6ac50d90e32"
META = codex("session_meta", {"id": ONE, "timestamp": "2026-03-01T10:00:00Z", "cwd": "/home/somebody"})


def counted(total: int | None, last: int = 0) -> dict[str, Any]:
    if total is None:
        return codex_event("token_count", info=None)
    usage = [{"input_tokens": count, "output_tokens": count} for count in (total, last)]
    return codex_event("token_count", info={"total_token_usage": usage[0], "last_token_usage": usage[1]})


def asked(text: str) -> list[dict[str, Any]]:
    return [codex_item("user", text), codex_event("user_message", message=text)]


@pytest.mark.parametrize("is_before", [False, True])
def test_a_count_that_goes_up_becomes_that_of_each_reply(place: Place, is_before: bool) -> None:
    """Whether it stands before the reply's items or after them; a new process counts from zero."""

    def reply(text: str, total: int, last: int) -> list[dict[str, Any]]:
        pair = [counted(total, last), codex_item("assistant", text)]
        return pair if is_before else pair[::-1]

    records = [
        META, *asked("First"), counted(None), *reply("One", 10, 10), counted(10, 10), *reply("Two", 15, 5),
        *asked("Second"), counted(None), *reply("Three", 10, 10), counted(10, 0),
    ]  # fmt: skip
    write_lines(codex_path(place.home, ONE), records)
    place.bring()
    used = [[turn.input_tokens for turn in each.response.turns] for each in place.rounds(ONE)]
    assert used == [[10, 5], [10]]


def test_a_request_without_an_event_is_one(place: Place) -> None:
    records = [META, codex_item("user", "<environment_context>x</environment_context>"), codex_item("user", "First"),
               codex_item("assistant", "One"), *asked("Second"), codex_item("assistant", "Two"),
               codex_item("user", "Third")]  # fmt: skip
    path = codex_path(place.home, ONE)
    write_lines(path, records)
    place.bring()
    assert place.talk(ONE) == [("First", ["One"]), ("Second", ["Two"]), ("Third", [])]
    write_lines(path, [*records, codex_event("user_message", message="Third"), codex_item("assistant", "Three")])
    place.bring()
    assert place.talk(ONE) == [("First", ["One"]), ("Second", ["Two"]), ("Third", ["Three"])]


def test_the_earliest_files_are_flat(place: Place) -> None:
    head = {"id": ONE, "timestamp": "2025-05-01T10:00:00Z", "instructions": None}
    items = [codex_item("user", "First")["payload"], codex_item("assistant", "One")["payload"]]
    write_lines(codex_path(place.home, ONE), [head, {"record_type": "state"}, *items])
    place.bring()
    assert place.talk(ONE) == [("First", ["One"])]
    (session,) = place.sessions()
    assert (session.created_at, session.cwd) == (1746093600000, None)


def test_rounds_that_were_taken_back_are_another_branch(place: Place) -> None:
    records = [META, *asked("First"), codex_item("assistant", "One"), *asked("Second"), codex_item("assistant", "Two"),
               codex_event("thread_rolled_back", num_turns=1), *asked("Third"),
               codex_item("assistant", "Three")]  # fmt: skip
    write_lines(codex_path(place.home, ONE), records)
    place.bring()
    place.bring()
    assert place.talk(ONE) == [("First", ["One"]), ("Third", ["Three"])]
    (fork,) = [session for session in place.sessions() if session.external_id is None]
    assert place.talk(session_id=fork.id) == [("First", ["One"]), ("Second", ["Two"])]
    assert place.is_sound()


def test_titles_stand_beside_and_may_change(place: Place) -> None:
    write_lines(codex_path(place.home, ONE), [META, *asked("First"), codex_item("assistant", "One")])
    index = place.home / ".codex" / "session_index.jsonl"
    for title in ("A name", "Another name"):
        write_lines(index, [{"id": ONE, "thread_name": "Old"}, {"id": ONE, "thread_name": title}])
        place.bring()
        assert place.sessions()[0].title == title


def test_a_compressed_rollout_is_read(place: Place) -> None:
    zstandard = pytest.importorskip("zstandard")
    path = codex_path(place.home, ONE)
    write_lines(path, [META, *asked("First"), codex_item("assistant", "One")])
    place.bring()
    packed = path.with_name(path.name + ".zst")
    packed.write_bytes(zstandard.ZstdCompressor().compress(path.read_bytes()))
    path.unlink()
    place.bring()
    assert place.talk(ONE) == [("First", ["One"])]
    packed.write_bytes(b"no zstd")
    assert "was not brought in" in place.bring(code=1).err


def test_a_command_that_was_declined_or_failed_says_so(place: Place) -> None:
    records = [META, *asked("First")]
    for call, output in (("a", '{"output":"","metadata":{"exit_code":1}}'), ("b", "Process exited with code 0"),
                         ("c", "exec_command failed: rejected by user")):  # fmt: skip
        records.append(codex("response_item", {"type": "function_call", "name": "shell", "arguments": '{"x": 1}',
                                               "call_id": call}))  # fmt: skip
        records.append(codex("response_item", {"type": "function_call_output", "call_id": call, "output": output}))
    write_lines(codex_path(place.home, ONE), records)
    place.bring()
    (turn,) = place.rounds(ONE)[0].response.turns
    assert [(call.id, call.status, call.metadata) for call in turn.tool_calls] == [
        ("a", "failed", {"exitCode": 1}), ("b", "completed", {"exitCode": 0}), ("c", "failed", {"rejected": True}),
    ]  # fmt: skip
    assert turn.tool_calls[0].arguments == {"x": 1}
    with SessionManager(place.database) as manager:
        assert manager.usage().tool_calls == 3


def announced(text: str, second: int = 0) -> list[dict[str, Any]]:
    return [codex_event("agent_message", second, message=text), codex_item("assistant", text, second)]


@pytest.mark.parametrize("first", range(2, 11))
def test_the_summary_of_a_compaction_counts_once_wherever_the_file_ended_before(place: Place, first: int) -> None:
    """Until the line of the compaction comes, it looks like an answer."""
    records = [
        META, *asked("First"), *announced("One"), counted(10, 10), codex_item("assistant", "In short"), counted(15, 5),
        codex("compacted", {"message": "x"}), codex_event("task_complete", last_agent_message="One"),
    ]  # fmt: skip
    path = codex_path(place.home, ONE)
    write_lines(path, records[:first])
    place.bring()
    write_lines(path, records)
    place.bring()
    assert place.talk(ONE) == [("First", ["One"]), ("", ["In short"])]
    with SessionManager(place.database) as manager:
        used = manager.usage()
    assert (used.totals[0].input_tokens, used.turns) == (15, 2)
    assert place.is_sound()


def test_what_is_put_in_again_on_resume_is_no_request(place: Place) -> None:
    context = [codex_item("user", "# AGENTS.md instructions for /x\n\n<INSTRUCTIONS>"),
               codex_item("user", "<environment_context>x</environment_context>")]  # fmt: skip
    records = [META, *context, *asked("First"), *announced("One"), *context, *asked("Second"), *announced("Two")]
    write_lines(codex_path(place.home, ONE), records)
    place.bring()
    assert place.talk(ONE) == [("First", ["One"]), ("Second", ["Two"])]


def test_a_turn_that_ends_without_an_answer_has_failed(place: Place) -> None:
    begun, failed = codex_event("task_started"), codex_event("task_complete", last_agent_message=None)
    records = [META, begun, *asked("First"), failed, begun, *asked("Second"), *announced("Two"),
               codex_event("task_complete", last_agent_message="Two"),
               begun, codex_item("assistant", "In short"), codex("compacted", {"message": "x"}), failed]  # fmt: skip
    path = codex_path(place.home, ONE)
    for count in (7, len(records)):
        write_lines(path, records[:count])
        place.bring()
    first, second, summary = place.rounds(ONE)
    assert [each.response.status for each in (first, second)] == ["error", "completed"]
    assert [turn.content for turn in second.response.turns] == ["Two"]
    assert [(turn.kind, turn.content) for turn in summary.response.turns] == [("compaction", "In short")]


@pytest.mark.parametrize("end", ["## My request for Codex:\n", "## My request:\n"])
def test_an_editor_s_words_around_a_request_are_beside_it(place: Place, end: str) -> None:
    whole = f"# Context from my IDE setup:\n\n## Open tabs:\n- a.py: a.py\n\n{end}Why?\nSay."
    write_lines(codex_path(place.home, ONE), [META, *asked(whole), *announced("So.")])
    place.bring()
    (only,) = place.rounds(ONE)
    assert (only.request.content, only.request.blocks) == ("Why?\nSay.", [{"type": "input_text", "text": whole}])


def test_a_fork_that_copies_its_history_does_not_double_it(place: Place) -> None:
    two, three = ONE.replace("01a2", "02a2"), ONE.replace("01a2", "03a2")

    def head(thread: str, second: int) -> dict[str, Any]:
        return codex("session_meta", {"id": thread, "timestamp": f"2026-03-01T10:00:{second:02}Z"}, second)

    def round_(text: str, answer: str, total: int, second: int) -> list[dict[str, Any]]:
        return [codex_item("user", text, second), codex_event("user_message", second, message=text),
                *announced(answer, second), counted(total, 10)]  # fmt: skip

    # Each has other times, and counts on.
    write_lines(codex_path(place.home, ONE), [head(ONE, 1), *round_("First", "One", 10, 1)])
    write_lines(codex_path(place.home, two), [head(two, 2), head(ONE, 2), *round_("First", "One", 10, 2),
                                              *round_("Second", "Two", 20, 3)])  # fmt: skip
    write_lines(codex_path(place.home, three),
                [head(three, 4), head(two, 4), head(ONE, 4), *round_("First", "One", 10, 4),
                 *round_("Second", "Two", 20, 4), *round_("Third", "Three", 30, 5)])  # fmt: skip
    place.bring()
    place.bring()
    assert place.talk(three) == [("First", ["One"]), ("Second", ["Two"]), ("Third", ["Three"])]
    assert [each.copied_from_id is None for each in place.rounds(three)] == [False, False, True]
    with SessionManager(place.database) as manager:
        used = manager.usage()
        found = {name: manager.get_session(external_id=name) for name in (ONE, two, three)}
    assert (found[three].parent_id, found[two].parent_id) == (found[two].id, found[ONE].id)
    assert (found[three].relation, found[ONE].relation) == ("fork", None)
    assert (used.rounds, used.turns, used.totals[0].input_tokens) == (3, 3, 30)
    assert place.is_sound()


def test_the_same_words_elsewhere_are_no_copy(place: Place) -> None:
    other = ONE.replace("01a2", "02a2")
    for thread in (ONE, other):
        head = codex("session_meta", {"id": thread, "timestamp": "2026-03-01T10:00:00Z"})
        write_lines(codex_path(place.home, thread), [head, *asked("Hello"), *announced("Hi.")])
    place.bring()
    with SessionManager(place.database) as manager:
        assert manager.usage().rounds == 2


def test_two_files_of_one_thread_that_part_do_not_mix(place: Place) -> None:
    """Somebody went on with it on two machines. What was here first stays, and the other file is told of."""
    head = [META, *asked("First"), codex_item("assistant", "One")]
    here = [*head, *asked("Second"), codex_item("assistant", "Two")]
    there = [
        *head,
        *asked("Another"),
        codex_item("assistant", "Other"),
        *asked("More"),
        codex_item("assistant", "Much"),
    ]
    write_lines(codex_path(place.home, ONE), here)
    place.bring()
    other = place.home / ".codex" / "archived_sessions" / codex_path(place.home, ONE).name
    kept = [("First", ["One"]), ("Second", ["Two"])]
    for upto in (len(head) + 3, len(there)):
        write_lines(other, there[:upto])
        told = place.bring(code=1)
        assert "says something else than another file of this conversation" in told.err
        assert place.talk(ONE)[:2] == kept
        place.bring()
    write_lines(codex_path(place.home, ONE), [*here, *asked("Third"), codex_item("assistant", "Three")])
    place.bring()
    assert place.talk(ONE)[:2] == kept
    assert place.is_sound()


def test_a_copy_that_is_longer_or_shorter_says_the_same(place: Place) -> None:
    records = [META, *asked("First"), codex_item("assistant", "One"), *asked("Second"), codex_item("assistant", "Two")]
    path = codex_path(place.home, ONE)
    for number, upto in enumerate([len(records) - 1, len(records), len(records) - 3]):
        write_lines(path.with_name(f"rollout-2026-03-01T10-00-0{number}-{ONE}.jsonl"), records[:upto])
        place.bring()
    assert place.talk(ONE) == [("First", ["One"]), ("Second", ["Two"])]
    assert place.is_sound()
