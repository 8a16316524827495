"""A page in a real browser: hostile texts do nothing there, and what the page offers works."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chromium import Browser, browsing, program
from exports.pages import ATTRIBUTES, HOSTILE, TAGS, hostile_session, page_of
from mandrake_sessions import SessionManager
from mandrake_sessions.model import TurnStatus

pytestmark = [
    pytest.mark.skipif(program() is None, reason="there is no Chromium; install Debian's chromium, say"),
    pytest.mark.timeout(300),
]
# Told of everything that a page must not do; runs before the page's own script.
TRAP = """
window.trapped = [];
for (const name of ["alert", "open", "fetch", "print"]) window[name] = () => trapped.push(name);
document.addEventListener("securitypolicyviolation", (event) =>
  trapped.push(`${event.effectiveDirective} ${event.blockedURI} ${event.sample}`));
addEventListener("error", (event) => trapped.push(event.message), true);
"""
ELEMENTS = """
[...new Set([...document.querySelectorAll("*")].flatMap((element) => [
  element.localName, ...[...element.attributes].map((attribute) => "@" + attribute.name)]))]
"""
LINKS = '[...new Set([...document.querySelectorAll("a")].map((link) => link.protocol))]'


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing() as started:
        yield started


def opened(browser: Browser, path: Path, page: str, **options: Any) -> None:
    path.write_text(page, encoding="utf-8")
    browser.open(path.as_uri(), before=TRAP, **options)


def told(browser: Browser, *methods: str) -> list[Any]:
    return [event["params"] for event in browser.events if event["method"] in methods]


def look_for(browser: Browser, words: str) -> None:
    browser.evaluate(
        f"(box => {{ box.value = '{words}'; box.dispatchEvent(new Event('input')); }})(document.querySelector('#find'))"
    )


def talk(manager: SessionManager, rounds: int = 3, text: str = "Some words.") -> str:
    """A session whose tool calls each say a word that is nowhere else."""
    session = manager.create_session(title="A talk").id
    with manager.transaction():
        for number in range(rounds):
            made = manager.create_round(session, content=f"Question {number}?")
            calls: list[Any] = [{"id": f"call {number}", "method_name": "Look", "response": f"needle-{number} of hay"}]
            said = (
                f"{text}\n\n```python\ndef answer_{number}(): return 42\n```\n\n{'long' * 200}\n\n|a|b|\n|-|-|\n|c|d|\n"
            )
            manager.create_turn(made.response.id, content=said, tool_calls=calls, status=TurnStatus.COMPLETED)
    return session


def test_the_traps_see_what_a_page_without_care_does(browser: Browser, tmp_path: Path) -> None:
    page = f"<!DOCTYPE html><body>{HOSTILE[0]}{HOSTILE[1]}<img src='https://example.org/x'>"
    opened(browser, tmp_path / "page.html", page)
    assert browser.evaluate("window.hacked") == 1
    assert len(told(browser, "Network.requestWillBeSent")) == 3
    assert {"img", "@onerror"} <= set(browser.evaluate(ELEMENTS))
    policy = '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'">'
    opened(browser, tmp_path / "page.html", policy + page)
    assert browser.evaluate("window.hacked") is None
    assert browser.evaluate("trapped.length") > 0


@pytest.mark.parametrize("own", ["\n".join(HOSTILE), *HOSTILE[:3], HOSTILE[6], HOSTILE[9]])
def test_hostile_texts_do_nothing(browser: Browser, manager: SessionManager, tmp_path: Path, own: str) -> None:
    """Nor does the policy have to stop anything: nothing of them is in the page but as text."""
    texts = HOSTILE if own == "\n".join(HOSTILE) else [own]
    opened(browser, tmp_path / "page.html", page_of(manager, hostile_session(manager, own, texts)))
    browser.evaluate("document.querySelectorAll('details').forEach((fold) => { fold.open = true; })")
    browser.evaluate("new Promise((done) => requestAnimationFrame(() => setTimeout(done, 50)))")
    assert browser.evaluate("window.hacked") is None
    assert browser.evaluate("trapped") == []
    assert told(browser, "Log.entryAdded", "Audits.issueAdded", "Runtime.exceptionThrown") == []
    urls = [event["request"]["url"] for event in told(browser, "Network.requestWillBeSent")]
    assert urls == [(tmp_path / "page.html").as_uri()]
    assert told(browser, "Network.webSocketCreated", "Page.frameAttached", "Page.javascriptDialogOpening") == []
    found = set(browser.evaluate(ELEMENTS))
    assert {name for name in found if name[0] != "@"} <= TAGS
    assert {name[1:] for name in found if name[0] == "@"} <= ATTRIBUTES
    assert set(browser.evaluate(LINKS)) <= {"https:", "http:", "mailto:", "file:"}
    assert browser.evaluate("document.querySelectorAll('.round').length") == len(texts)
    assert browser.evaluate(
        "[document.documentElement.scrollWidth <= innerWidth, document.baseURI === location.href]"
    ) == [
        True,
        True,
    ]


def test_the_policy_stops_scripts_that_got_in_all_the_same(
    browser: Browser, manager: SessionManager, tmp_path: Path
) -> None:
    page = page_of(manager, talk(manager)).replace("</main>", f"{HOSTILE[0]}{HOSTILE[1]}<p style='color: red'></main>")
    opened(browser, tmp_path / "page.html", page)
    assert browser.evaluate("window.hacked") is None
    assert len(browser.evaluate("trapped")) >= 3
    assert all("example.org" not in event["request"]["url"] for event in told(browser, "Network.requestWillBeSent"))


def test_the_find_box(browser: Browser, manager: SessionManager, tmp_path: Path) -> None:
    opened(browser, tmp_path / "page.html", page_of(manager, talk(manager)))
    browser.press("/")
    assert browser.evaluate("document.activeElement.id") == "find"
    browser.type("NEEDLE-")
    status = "document.querySelector('.find [role=status]').textContent"
    browser.wait_until(f"{status} === '1 of 3'")
    is_open = "[...document.querySelectorAll('.tool')].map((fold) => fold.open)"
    assert browser.evaluate(is_open) == [True, False, False]
    assert browser.evaluate("CSS.highlights.get('hits').size") == 3
    for shift, expected in ((False, "2 of 3"), (False, "3 of 3"), (False, "1 of 3"), (True, "3 of 3")):
        browser.press("Enter", shift=shift)
        assert browser.evaluate(status) == expected
    assert browser.evaluate(is_open) == [True, True, True]
    shown = "[...CSS.highlights.get('hit')][0]"
    assert browser.evaluate(f"{shown}.toString()") == "needle-"
    assert browser.evaluate(f"(r => r.top > 0 && r.bottom < innerHeight)({shown}.getBoundingClientRect())")
    browser.evaluate("document.querySelector('.next').click()")
    assert browser.evaluate(status) == "1 of 3"
    # A text that several elements of a block have part in.
    look_for(browser, "def answer_1(): return")
    browser.wait_until(f"{status} === '1 of 1'")
    assert browser.evaluate(f"{shown}.toString()") == "def answer_1(): return"
    look_for(browser, "nowhere")
    browser.wait_until(f"{status} === 'None'")
    browser.press("Escape")
    assert browser.evaluate(f"[document.activeElement.value, {status}, CSS.highlights.size]") == ["", "", 0]
    assert browser.evaluate("trapped") == []


def test_two_thousand_turns_can_be_searched(browser: Browser, manager: SessionManager, tmp_path: Path) -> None:
    page = page_of(manager, talk(manager, rounds=2000, text="Many words, and *more* of them. " * 20))
    opened(browser, tmp_path / "page.html", page)
    look_for(browser, "needle-1999")
    browser.wait_until("document.querySelector('.find [role=status]').textContent === '1 of 1'")
    look_for(browser, "words")
    browser.wait_until("document.querySelector('.find [role=status]').textContent === '1 of 5000+'")
    assert browser.evaluate("document.querySelectorAll('#index a').length") == 2000


def test_the_index_jumps(browser: Browser, manager: SessionManager, tmp_path: Path) -> None:
    opened(browser, tmp_path / "page.html", page_of(manager, talk(manager, rounds=30)))
    index = "document.querySelector('#index details')"
    assert browser.evaluate(f"{index}.open") is True
    assert browser.evaluate("document.querySelector('#index').getBoundingClientRect().right") < browser.evaluate(
        "document.querySelector('main').getBoundingClientRect().left"
    )
    browser.evaluate("document.querySelectorAll('#index a')[20].click()")
    at = "document.querySelector('#round-21').getBoundingClientRect().top"
    browser.wait_until(f"Math.abs({at}) < innerHeight / 2")
    assert browser.evaluate("location.hash") == "#round-21"
    browser.resize(390, 800)
    browser.wait_until(f"!{index}.open")
    assert browser.evaluate("document.querySelector('#index').getBoundingClientRect().bottom") < browser.evaluate(
        "document.querySelector('main').getBoundingClientRect().top"
    )


@pytest.mark.parametrize("width", [320, 390, 800, 1280])
def test_no_width_scrolls_sideways(browser: Browser, manager: SessionManager, tmp_path: Path, width: int) -> None:
    session = talk(manager, text="word" * 500)
    manager.update_session(session, title="T" * 300, cwd="/" + "d" * 300, agent="a" * 300)
    opened(browser, tmp_path / "page.html", page_of(manager, session), width=width)
    browser.evaluate("document.querySelectorAll('details').forEach((fold) => { fold.open = true; })")
    assert browser.evaluate("document.documentElement.scrollWidth") == width
    assert browser.evaluate("[...document.querySelectorAll('.prose pre')].every((code) => code.scrollWidth < 2000)")


def test_light_dark_and_paper(browser: Browser, manager: SessionManager, tmp_path: Path) -> None:
    opened(browser, tmp_path / "page.html", page_of(manager, talk(manager)))
    ground = "getComputedStyle(document.body).backgroundColor"
    light = browser.evaluate(ground)
    browser.media(scheme="dark")
    assert browser.evaluate(ground) != light
    browser.media(kind="print", scheme="dark")
    assert browser.evaluate(ground) == light
    for part in (".find", "#index"):
        assert browser.evaluate(f"getComputedStyle(document.querySelector('{part}')).display") == "none"
    seen = "document.querySelector('.tool .output').checkVisibility({ contentVisibilityAuto: true })"
    assert browser.evaluate("document.querySelector('.tool').open") is False
    assert browser.evaluate(seen) is True
    browser.media()
    assert browser.evaluate(seen) is False
    assert browser.pdf().startswith(b"%PDF-")
    assert browser.evaluate("document.querySelectorAll('.tool[open]').length") == 0


def test_without_a_script_all_but_the_find_box_is_there(
    browser: Browser, manager: SessionManager, tmp_path: Path
) -> None:
    page = page_of(manager, talk(manager))
    browser.open("about:blank")
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    (tmp_path / "page.html").write_text(page, encoding="utf-8")
    browser.events.clear()
    browser.call("Page.navigate", url=(tmp_path / "page.html").as_uri())
    browser.wait_for_event("Page.loadEventFired")
    assert browser.evaluate("document.querySelector('.find').checkVisibility()") is False
    assert browser.evaluate("document.querySelector('#index a').checkVisibility({ contentVisibilityAuto: true })")
    browser.evaluate("document.querySelector('.tool summary').click()")
    browser.wait_until("document.querySelector('.tool').open")


def test_signs_that_turn_text_round_stay_where_they_are(
    browser: Browser, manager: SessionManager, tmp_path: Path
) -> None:
    session = manager.create_session(title="A\u202eBC", agent="\u2067x").id
    made = manager.create_round(session, content="\u202eone\u2069\u202e two")
    manager.create_turn(made.response.id, content="x", model="m\u2069\u202eodel", status=TurnStatus.COMPLETED)
    opened(browser, tmp_path / "page.html", page_of(manager, session))
    # What follows the name of the model is still to the right of it.
    where = "((r) => (r.selectNodeContents(%s), r.getBoundingClientRect().left))(document.createRange())"
    name, after = (where % f"document.querySelector('.turn .by {part}')" for part in ("code", "time"))
    assert browser.evaluate(name) < browser.evaluate(after)
