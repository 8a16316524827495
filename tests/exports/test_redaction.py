"""What is replaced and what is not, on hostile texts too; and a server that redacts goes on answering."""

from __future__ import annotations

import json
import random
import string
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mandrake_sessions.redaction import Redactor, detector
from mandrake_sessions.redaction.redactor import BLOCK
from model.profile import examples, patient
from wire import Wire, serving

pytestmark = patient

MIB = 1024 * 1024
LETTERS = string.ascii_letters + string.digits
_random = random.Random(7)


def letters(count: int, among: str = LETTERS) -> str:
    return "".join(_random.choices(among, k=count))


PEM = (
    "-----BEGIN OPENSSH PRIVATE KEY-----\n"
    + "\n".join(letters(64) for _ in range(20))
    + "\n-----END OPENSSH PRIVATE KEY-----"
)
# A text, and what nobody may read in it afterwards.
PRIVATE = {
    "aws-access-key": ("aws AKIAIOSFODNN7EXAMPLE", "IOSFODNN7"),
    "github-token": (f"x=ghp_{(token := letters(36))}", token),
    "anthropic-api-key": (f"sk-ant-api03-{(key := letters(40))}", key),
    "openai-api-key": (f"OPENAI_API_KEY=sk-proj-{(project := letters(48))}", project),
    "slack-token": (f"xoxb-123456789012-{(slack := letters(24))}", slack),
    "jwt": ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.SflKxwRJSMeKKF2QT4fw", "SflKxwRJSMeKKF2QT4fw"),
    "private-key": (f"a {PEM} b", PEM[60:100]),
    "password": ("postgres://me:correct-horse@db:5432/x", "correct-horse"),
    "variable": ("export DB_PASSWORD=hunter2", "hunter2"),
    "quoted": ("client_secret: 'Zq8-vvX_1pLm'", "Zq8-vvX"),
    "header": ("curl -H 'Authorization: Bearer abc.def-ghi_jkl'", "abc.def"),
    "basic": ("Authorization: Basic dXNlcjpwYXNzd29yZA==", "dXNlcjpw"),
    "home": ("in /home/alice/src", "alice"),
    "mac": ("file:///Users/bob.smith/x", "bob"),
    "windows": ("C:\\Users\\Carol Smith\\x and d:/Users/dave", "Carol"),
    "wsl": ("/mnt/c/Users/erin/x", "erin"),
    "project": ("~/.claude/projects/-home-frank-src/x.jsonl", "frank"),
    "project of a home": ("~/.claude/projects/-home-grace/x.jsonl", "grace"),
    "project alone": ("$ ls projects\n-home-heidi-src\n", "heidi"),
    "project of a mac": ('"-Users-ivan-src"', "ivan"),
    "project of windows": ("C--Users-judy-src", "judy"),
    "encoded": ("vscode://open?path=%2Fhome%2Fkarl%2Fsrc", "karl"),
    "encoded in lower case": ("file%3a%2f%2f%2fhome%2fkarl%2fsrc", "karl"),
    "encoded drive": ("x=c%3A%5CUsers%5Cleo%5Csrc", "leo"),
    "address of a drive": ("file:///c%3A/Users/mia/src", "mia"),
    "share of wsl": ("\\\\wsl$\\Ubuntu\\home\\nina\\src", "nina"),
    "share of wsl, short": ("\\\\wsl$\\home\\nina", "nina"),
    "host of wsl": ("//wsl.localhost/Debian/home/olaf/src", "olaf"),
}
PLAIN = [
    "git show 9fceb02d0ae598e95dc970b74767f19372d61af8",
    "sha256:143c6406aaec32cc8d8420aee7aed96822af8657c7f2586dde909874be1a58ef",
    "0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b",
    "token = tokens[index]",
    "password: string;",
    "api_key = settings.api_key",
    "max_tokens=4096, tokens: 12000",
    "PASSWORD=${DB_PASSWORD} and secret = <your secret here>",
    "src/home/page.tsx https://example.com/home/about /Users/Shared/x /home/$USER",
    "The secret: never give up. The password is easy.",
    "/rooted /home",
    "--home-dir x, -home-dir, my-home-page-one, a -Users-only b",
    "%2Fsrc%2Fhome%2Fpage and C%3A%5CUsers%5CPublic%5Cx",
]


@pytest.mark.parametrize(("text", "private"), PRIVATE.values(), ids=PRIVATE)
@pytest.mark.parametrize("depth", range(4))
def test_it_is_replaced_in_a_text_and_in_json_in_json(text: str, private: str, depth: int) -> None:
    redactor = Redactor()
    for _ in range(depth):
        text = json.dumps({"a": f"\n{text}\t"})
    found = redactor.text(text)
    assert private not in found
    assert redactor.count >= 1
    for _ in range(depth):
        # What stands around it is still JSON.
        found = json.loads(found)["a"]
    assert "[redacted: " in found or "~" in found


@pytest.mark.parametrize("text", PLAIN)
def test_it_stays(text: str) -> None:
    redactor = Redactor()
    assert (redactor.text(text), redactor.count) == (text, 0)


def test_the_detector_is_there_and_finds_what_only_it_knows() -> None:
    assert detector.is_there()
    assert Redactor().text(f"é glsa_{letters(32)}_{letters(8, '0123456789abcdef')} é").startswith("é [redacted: ")


def test_escapes_inside_of_a_secret() -> None:
    escaped = "".join(f"\\u{ord(character):04x}" for character in "ghp_") + token
    assert Redactor().text(f'{{"a":"{escaped}"}}') == '{"a":"[redacted: github-token]"}'


def test_values_by_their_names() -> None:
    value: Any = {"password": "x", "API_KEY": "a b c", "github_token": "0123456789", "passwords": ["x"], "n": 10**30}
    assert Redactor().json(value) == {
        **value, "password": "[redacted: password]", "github_token": "[redacted: token]"
    }  # fmt: skip
    assert Redactor().json({"/home/al": 1, "/home/bo": 2}) == {"~": 1, "~'": 2}


def test_this_users_own_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/srv/people/grace")
    assert Redactor().text("/srv/people/grace/x /srv/people/graceful") == "~/x /srv/people/graceful"
    assert Redactor().text("a=%2Fsrv%2Fpeople%2Fgrace%2Fx -srv-people-grace-x -srv-people-graceful") == (
        "a=~%2Fx ~-x -srv-people-graceful"
    )
    monkeypatch.setenv("HOME", "/")
    assert Redactor().text("/srv/people/grace") == "/srv/people/grace"


@given(
    st.lists(
        st.sampled_from([*(text for text, _ in PRIVATE.values()), " x ", "\\", "é", "\n", "\\n", '"']), max_size=30
    )
)
@examples(60)
def test_slices_make_no_difference(parts: list[str]) -> None:
    text = " ".join(parts)
    whole = Redactor().text(text)
    assert "".join(Redactor().slices(text[at : at + 7] for at in range(0, len(text), 7))) == whole


@pytest.mark.parametrize("before", range(BLOCK - 60, BLOCK + 20, 5))
def test_a_secret_on_an_edge(before: int) -> None:
    redactor = Redactor()
    found = redactor.text(f"{'x ' * (before // 2)}ghp_{token} {'y ' * BLOCK}{PEM}")
    assert not {part for part in (token[:6], token[-6:], PEM[60:70], PEM[-90:-80]) if part in found}
    assert redactor.count == 2
    assert found.count("y ") == BLOCK


# Each is repeated to half a MiB.
HOSTILE = {
    "one letter": "a",
    "blanks": " ",
    "beyond": "\U0001f680",
    "escapes": "\\n",
    "backslashes": "\\",
    "codes": "\\u0041",
    "codes and letters": "\\u0041b",
    "prefixes": "sk-",
    "jwt": "eyJ",
    "jwts": "-eyJa.",
    "keys": "-----BEGIN PRIVATE KEY-----",
    "ends": "-----END PRIVATE KEY-----",
    "addresses": "://a:b",
    "credentials": "https://u:pw12345678@h/ ",
    "names": "password",
    "values": "password='a1",
    "homes": "/home/a/",
    "users": "C:\\Users\\",
    "encoded homes": "%2Fhome%2Fa",
    "projects": "-home-a",
    "shares": "\\\\wsl$\\",
    "found": "AKIAZ7QK3MXT5VBN2RWD ",
    "bearer": "bearer ",
    "by the detector": "glsa_" + "Ab3" * 11 + "_0123abcd ",
    "dots": "SG.aaaaaaaaaaaaaaaaaaaa.",
    "quotes": "token:\"'`",
}


@pytest.mark.parametrize("unit", HOSTILE.values(), ids=HOSTILE)
def test_the_time_is_in_proportion_to_the_text(unit: str) -> None:
    """Processor time: that of half a MiB is at most twice what a quarter of it says."""
    Redactor().text("warm" * 10)
    quarter, whole = (_seconds(unit * (size // len(unit))) for size in (MIB // 8, MIB // 2))
    assert whole < 8 * quarter + 0.5


def _seconds(text: str) -> float:
    begun = time.process_time()
    Redactor().text(text)
    return time.process_time() - begun


def test_a_server_answers_while_it_redacts(workspace: Path) -> None:
    """The export takes seconds; meanwhile, others are answered, a cancelled one ends, and so does the server."""
    with serving(workspace) as wire:
        session = wire.request("session/create")["id"]
        for _ in range(7):
            wire.request("round/create", sessionId=session, content='password="a1b2c3" ' * (MIB // 18))
        answered = 0
        export = wire.post("session/export", sessionId=session, format="jsonl", redact=True)
        while wire.post("server/info") and wire.wait_for(lambda _: True, 60)["id"] != export:
            answered += 1
        wire.wait_for(lambda _: True, 60)
        assert answered > 20
        export = wire.post("session/export", sessionId=session, format="jsonl", redact=True)
        wire.request("server/info")
        wire.notify("$/cancelRequest", id=export)
        assert wire.wait_for(lambda m: m.get("id") == export, 60)["error"]["code"] == -32800
        _ends_soon(wire, session)


def test_a_server_ends_while_the_rules_are_compiled(workspace: Path) -> None:
    with serving(workspace, environment={"KF_RULE_CACHE_DIR": str(workspace / "rules")}) as wire:
        _ends_soon(wire, wire.request("session/create", title="A talk")["id"])


def _ends_soon(wire: Wire, session: str) -> None:
    export = wire.post("session/export", sessionId=session, format="jsonl", redact=True)
    wire.request("server/info")
    begun = time.monotonic()
    wire.process.terminate()
    assert wire.process.wait(20) == 0
    assert time.monotonic() - begun < 5
    wire.wait_for(lambda m: m.get("id") == export, 20)
