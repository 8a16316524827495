"""Transcripts of Claude Code in which somebody went back into the middle of a round."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from importing.following import add_line, following, until
from importing.importing import Place
from importing.transcripts import Claude, claude
from mandrake_sessions import SessionManager
from model.profile import TIMES

ONE = "11111111-1111-4111-8111-111111111111"

Talk = list[tuple[str, list[str | None]]]
LEFT: Talk = [("First", ["Looking", "Two"]), ("Second", ["Three"])]
CUT: Talk = [("First", ["Looking"])]
OTHER: Talk = [("Other", ["Four"])]


def two_rounds(home: Path) -> tuple[Claude, dict[str, str]]:
    """A transcript, and its records by what they say."""
    talk, named = claude(home, ONE), {}
    named["First"] = talk.ask("First")
    named["Looking"] = talk.say("Looking", "msg_1", stop="tool_use")
    named["call"] = talk.call("call_1", "msg_1")
    named["result"] = talk.answer("call_1", "a.txt")
    named["Two"] = talk.say("Two", "msg_2")
    talk.add("system", subtype="stop_hook_summary")
    talk.ask("Second")
    named["Three"] = talk.say("Three", "msg_3")
    return talk, named


def ask_again(talk: Claude, parent: str) -> None:
    talk.ask("Other", parent=parent)
    talk.say("Four", "msg_4")


def say_again(talk: Claude, parent: str) -> None:
    talk.say("Four", "msg_4", parent=parent)


# What is done, below which record, and what the conversation is then.
WAYS = [
    (ask_again, "Looking", CUT + OTHER),
    (ask_again, "call", CUT + OTHER),
    (ask_again, "result", CUT + OTHER),
    (ask_again, "Two", [*LEFT[:1], *OTHER]),
    (say_again, "result", [*CUT, ("", ["Four"])]),
    (say_again, "First", [("First", []), ("", ["Four"])]),
]


def others(place: Place) -> list[Talk]:
    """The branches that were left."""
    return [place.talk(session_id=session.id) for session in place.sessions() if session.external_id is None]


def check(place: Place, talk: Talk, left: list[Talk], replies: int) -> None:
    assert place.talk(ONE) == talk
    assert sorted(others(place)) == sorted(left)
    with SessionManager(place.database) as manager:
        used = manager.usage()
    # Each reply is counted once, and each request.
    assert (used.totals[0].input_tokens, used.totals[0].output_tokens) == (10 * replies, 20 * replies)
    assert place.is_sound()


# After how many records the file ended before. Each is tried with some of the ways, and with all where more is tried.
ENDS = [0, 2, 3, 5, 7, 8, 9]
CASES = [
    pytest.param(end, *way, id=f"{way[0].__name__}-{way[1]}-{end}")
    for number, way in enumerate(WAYS)
    for position, end in enumerate(ENDS)
    if TIMES > 1 or (number + position) % 3 == 0
]


@pytest.mark.parametrize(("first", "go_back", "to", "expected"), CASES)
def test_what_was_left_in_the_middle_of_a_round_is_another_branch(
    place: Place, first: int, go_back: Callable[[Claude, str], None], to: str, expected: Talk
) -> None:
    """Wherever the file ended before."""
    talk, named = two_rounds(place.home)
    go_back(talk, named[to])
    talk.write(upto=first)
    place.bring()
    for _ in range(2):
        talk.write()
        place.bring()
        check(place, expected, [LEFT], 4)
    calls = [call for each in place.rounds(ONE) for turn in each.response.turns for call in turn.tool_calls]
    assert [(call.status, call.response) for call in calls] == ([] if to == "First" else [("completed", "a.txt")])
    talk.ask("And on")
    talk.say("Five", "msg_5")
    talk.write()
    place.bring()
    check(place, [*expected, ("And on", ["Five"])], [LEFT], 5)


@pytest.mark.parametrize("grows", [False, True])
def test_a_round_that_was_left_in_its_middle_can_be_gone_back_to(place: Place, grows: bool) -> None:
    talk, named = two_rounds(place.home)
    ask_again(talk, named["result"])
    if grows:
        talk.write()
        place.bring()
    talk.ask("Back", parent=named["Three"])
    talk.say("Five", "msg_5")
    for _ in range(2):
        talk.write()
        place.bring()
        check(place, [*LEFT, ("Back", ["Five"])], [LEFT, CUT + OTHER], 5)


def test_a_follower_sees_it_as_the_file_grows(place: Place) -> None:
    talk, named = two_rounds(place.home)
    ask_again(talk, named["Looking"])
    with following(place):
        for number, record in enumerate(talk.records):
            add_line(talk.path, record)
            if number == 7:
                until(lambda: place.talk(ONE) == LEFT)
        until(lambda: others(place) != [])
    place.bring()
    check(place, CUT + OTHER, [LEFT], 4)


def test_what_stands_beside_each_other_is_no_branch(place: Place) -> None:
    """The blocks of a reply, the results of calls that ran at once, and what the program puts between."""
    talk = claude(place.home, ONE)
    talk.ask("First")
    one = talk.call("call_1", "msg_1")
    two = talk.call("call_2", "msg_1")
    talk.answer("call_1", "a", parent=one)
    talk.add("attachment", attachment={"type": "hook_success"})
    talk.answer("call_2", "b", parent=two)
    talk.say("Two", "msg_2")
    talk.add("system", subtype="stop_hook_summary")
    talk.add("attachment", attachment={"type": "hook_success"})
    talk.ask("Second")
    talk.say("Three", "msg_3")
    for upto in range(len(talk.records)):
        talk.write(upto=upto + 1)
        place.bring()
    check(place, [("First", ["", "Two"]), ("Second", ["Three"])], [], 3)


@pytest.mark.parametrize(
    ("how", "grows"),
    [("as a whole", False), ("as a whole", True), ("each line", False), ("its end", False)],
)
def test_a_record_that_stands_in_the_file_again_is_no_branch(place: Place, how: str, grows: bool) -> None:
    """As in a log that was shipped twice."""
    talk, named = two_rounds(place.home)
    ask_again(talk, named["Two"])
    talk.write()
    if grows:
        place.bring()
    records = talk.records
    if how == "each line":
        talk.records = [record for record in records for _ in range(2)]
    else:
        talk.records = records + (records if how == "as a whole" else records[3:])
    talk.ask("And on")
    talk.say("Five", "msg_5")
    talk.write()
    for _ in range(2):
        place.bring()
        assert place.talk(ONE) == [*LEFT[:1], *OTHER, ("And on", ["Five"])]
        assert others(place) == [LEFT]
        with SessionManager(place.database) as manager:
            assert manager.usage().totals[0].input_tokens == 50
    assert place.is_sound()


# By the round that each follows: which branch goes on changes again and again.
TREES: list[list[int | None]] = [
    [None, 0, 0, 1, 2, 3], [None, None, 0, 1, 2], [None, None, 1, 0, 2, 3], [None, 0, 1, 1, 2, 3, 4, 5],
    [None, 0, 1, 0, 3, 2, 4], [None, 0, 1, 1, None, None, 5, 2], [None, 0, 1, 2, 3, 1, 3, 6, 7, 4],
    [None, 0, 1, 1, 3, 4, 5, 5, 4, 8, 8, 6, 11], [None, 0, 1, 2, 3, None, 3, 4, 7, 7, 9, 5, 10, 12],
]  # fmt: skip


def way_to(tree: list[int | None], place: int) -> list[int]:
    above = tree[place]
    return [*([] if above is None else way_to(tree, above)), place]


@pytest.mark.parametrize("is_grown", [False, True], ids=["as a whole", "as it grows"])
def test_any_tree_is_the_branch_that_was_used_last_and_its_others(place: Place, is_grown: bool) -> None:
    """Whoever goes back to a branch that was left finds all of its rounds there, and none of another."""
    random = Random(5)
    trees = [*TREES, *([None, *(random.choice([None, at - 1, *range(at)]) for at in range(1, 12))] for _ in range(16))]
    talks = [claude(place.home, f"{number:08}-1111-4111-8111-111111111111") for number in range(len(trees))]
    for number, (talk, tree) in enumerate(zip(talks, trees, strict=True)):
        names: list[str] = []
        for at, above in enumerate(tree):
            talk.ask(f"{number} {at}", parent=None if above is None else names[above])
            names.append(talk.say("Yes.", f"msg_{number}_{at}"))
        talk.write(upto=random.randrange(1, 2 * len(tree)) if is_grown else None)
    place.bring()
    if is_grown:
        for talk in talks:
            talk.write()
        place.bring()
    mains: dict[int, list[int]] = {}
    forks: dict[int, list[list[int]]] = {}
    with SessionManager(place.database) as manager:
        for session in manager.list_sessions(limit=1000).sessions:
            said = [each.request.content.split() for each in manager.history(session.id).rounds]
            (number,) = {int(one) for one, _ in said}
            way = [int(at) for _, at in said]
            if session.external_id is None:
                forks.setdefault(number, []).append(way)
            else:
                mains[number] = way
    for number, tree in enumerate(trees):
        assert mains[number] == way_to(tree, len(tree) - 1), tree
        others = forks.get(number, [])
        assert [way for way in others if way != way_to(tree, way[-1])] == [], tree
        ends = [way_to(tree, at) for at in range(len(tree)) if at not in tree]
        assert [end for end in ends if end not in [way[: len(end)] for way in (mains[number], *others)]] == [], tree
