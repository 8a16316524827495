"""docs/images: what a made-up conversation looks like, as a page and in a terminal. It needs Chromium.

python scripts/screenshots.py [DIRECTORY]
"""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from example_session import make
from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))
# Columns and lines of the terminal.
_COLUMNS, _LINES = 104, 30
# Until a command that stays has begun.
_STARTING = 2.0
# Of a picture that moves, in seconds: what comes together, the longest pause, and how long the end stands.
_TOGETHER = 0.01
_LONGEST_PAUSE = 0.8
_AT_THE_END = 4.0
_COMMANDS = {
    "list": ["list"],
    "show": ["show", "talk-41"],
    "search": ["search", "jitter"],
}


def main() -> None:
    images = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "images"
    images.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory)
        make(home / "fetcher" / ".ws" / "db.sqlite")
        _page(home, images)
        for name, words in _COMMANDS.items():
            _terminal(home, words, images / f"{name}.svg")
        _terminal(home, ["tail"], images / "acp.svg", lambda: _ask(home))


def _page(home: Path, images: Path) -> None:
    from chromium import browsing

    made = home / "made"
    _run(home, "export", "--all", "--scope", "workspace", "--format", "html", "--output", str(made))
    (page,) = made.glob("*-retries-*.html")
    with browsing() as browser:
        browser.open(page.as_uri(), width=1200, height=860)
        (images / "page-light.png").write_bytes(browser.picture())
        browser.media(scheme="dark")
        browser.evaluate("document.querySelectorAll('main .tool')[3].open = true")
        browser.evaluate("document.querySelectorAll('main .tool')[1].scrollIntoView({behavior: 'instant'})")
        (images / "page-dark.png").write_bytes(browser.picture())
        browser.media(scheme="light")
        browser.resize(360, 740, scale=1.5)
        browser.evaluate("document.querySelector('.find').scrollIntoView({behavior: 'instant'})")
        (images / "page-phone.png").write_bytes(browser.picture())


def _terminal(home: Path, words: list[str], path: Path, meanwhile: Callable[[], None] | None = None) -> None:
    """What a command shows on a terminal, as a picture. ``meanwhile``: what it shows; then Ctrl-C ends it, and the
    picture moves as the terminal did."""
    own, its = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "mandrake_sessions", *words], cwd=home / "fetcher", env=_environment(home),
        stdin=subprocess.DEVNULL, stdout=its, stderr=its,
    )  # fmt: skip
    os.close(its)
    pieces: list[tuple[float, bytes]] = []
    reader = threading.Thread(target=_read, args=(own, pieces))
    reader.start()
    if meanwhile is not None:
        time.sleep(_STARTING)
        meanwhile()
        process.send_signal(signal.SIGINT)
    reader.join()
    os.close(own)
    assert process.wait(60) in ((0,) if meanwhile is None else (0, 130)), pieces
    moments = _moments(pieces) if meanwhile is not None else [(0.0, b"".join(piece for _, piece in pieces))]
    drawn = [_drawn(home, words, shown) for _, shown in moments]
    picture = drawn[-1] if len(drawn) == 1 else _moving([at for at, _ in moments], drawn)
    path.write_text(picture, encoding="utf-8")


def _read(terminal: int, pieces: list[tuple[float, bytes]]) -> None:
    while True:
        try:
            piece = os.read(terminal, 65536)
        except OSError:  # Linux says so at the end.
            return
        if not piece:
            return
        pieces.append((time.monotonic(), piece))


def _moments(pieces: list[tuple[float, bytes]]) -> list[tuple[float, bytes]]:
    """What the terminal showed, and when, from the first piece on. What came together is one moment, and no pause is
    long."""
    moments: list[tuple[float, bytes]] = []
    shown, at = b"", 0.0
    last = pieces[0][0]
    for moment, piece in pieces:
        shown += piece
        if moments and moment - last < _TOGETHER:
            moments[-1] = moments[-1][0], shown
        else:
            at += min(_LONGEST_PAUSE, moment - last)
            moments.append((at, shown))
        last = moment
    return moments


def _drawn(home: Path, words: list[str], shown: bytes) -> str:
    text = shown.decode(errors="ignore").replace(str(home), "/home/me").replace("\r\n", "\n")
    lines = text.splitlines()[:_LINES]
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123
        console = Console(record=True, width=_COLUMNS, file=nowhere, force_terminal=True, color_system="truecolor")
        console.print(Text("$ mandrake-sessions " + " ".join(words), style="bold"))
        console.print(Text.from_ansi("\n".join(lines)), soft_wrap=False)
    picture = console.export_svg(title="mandrake-sessions", unique_id="terminal")
    # Rich names a font's address on the web; a picture should need none.
    return re.sub(r"@font-face \{.*?\}\s*", "", picture, flags=re.DOTALL)


def _moving(times: list[float], drawn: list[str]) -> str:
    """One picture of several, each shown from its time on, over and over. The last one stands where nothing moves."""
    whole = times[-1] + _AT_THE_END
    styles, frames = [], []
    for number, (at, picture) in enumerate(zip(times, drawn, strict=True)):
        from_, to = (100 * each / whole for each in (at, (*times, whole)[number + 1]))
        shown = f"{from_:.2f}%{{visibility:visible}}" + (f"{to:.2f}%{{visibility:hidden}}" if to < 100 else "")
        styles.append(f"@keyframes at{number}{{0%{{visibility:{'visible' if not from_ else 'hidden'}}}{shown}}}")
        styles.append(f".at{number}{{animation:at{number} {whole:.2f}s step-end infinite}}")
        frames.append(f'<g class="at{number}{"" if picture is drawn[-1] else " before"}">{_matrix(picture)}</g>')
    style = ".before{visibility:hidden}" + "@media(prefers-reduced-motion:no-preference){" + "".join(styles) + "}"
    last = drawn[-1].replace(_matrix(drawn[-1]), "".join(frames))
    return last.replace("</style>", f"{style}</style>", 1)


def _matrix(picture: str) -> str:
    """What the terminal shows, without its frame."""
    found = re.search(r'<g class="terminal-matrix">.*?</g>', picture, flags=re.DOTALL)
    assert found is not None
    return found[0]


def _ask(home: Path) -> None:
    """A client asks an agent behind the recorder."""
    agent = [sys.executable, str(ROOT / "scripts" / "example_agent.py")]
    command = [sys.executable, "-m", "mandrake_sessions", "acp", "--", *agent]
    prompt = [{"type": "text", "text": "Are the retries right now? Run the tests."}]
    requests = [
        {"method": "initialize", "params": {"protocolVersion": 1}},
        {"method": "session/new", "params": {"cwd": str(home / "fetcher"), "mcpServers": []}},
        {"method": "session/prompt", "params": {"sessionId": "talk-42", "prompt": prompt}},
    ]
    with subprocess.Popen(
        command, cwd=home / "fetcher", env=_environment(home), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for number, each in enumerate(requests):
            process.stdin.write(json.dumps({"jsonrpc": "2.0", "id": number, **each}) + "\n")
            process.stdin.flush()
            while "id" not in json.loads(process.stdout.readline()):
                pass
        process.stdin.close()
    time.sleep(_STARTING)


def _run(home: Path, *words: str) -> None:
    command = [sys.executable, "-m", "mandrake_sessions", *words]
    subprocess.run(command, cwd=home / "fetcher", env=_environment(home), check=True)


def _environment(home: Path) -> dict[str, str]:
    """Of nobody's: the store is the example's alone."""
    kept = {"PATH": os.environ["PATH"], "HOME": str(home), "MANDRAKE_HOME": str(home / ".mandrake")}
    return kept | {"TERM": "xterm-256color", "COLUMNS": str(_COLUMNS), "PAGER": "cat", "TZ": "UTC", "LANG": "C.UTF-8"}


if __name__ == "__main__":
    main()
