"""What looks like a secret by its shape or by its name, for what the detector leaves.

The detector is made for finding faults in code: it is silent about a key without its other half, about examples and
about passwords of no known form. What leaves a store should rather lose a word too many. Each pattern is of bounded
length and begins where no other match of it could have begun before, so that a search takes time in proportion to the
text, whatever the text is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from mandrake_sessions.redaction.literals import lower, positions
from mandrake_sessions.redaction.spans import Span

# Of the keys that begin with a word of their maker: the label of their mark, those words, and what follows.
_FORMS = (
    ("aws-access-key", "AKIA ASIA ABIA ACCA", r"[A-Z0-9]{16}(?![A-Za-z0-9])"),
    ("github-token", "ghp_ gho_ ghu_ ghs_ ghr_", r"[A-Za-z0-9]{16,255}"),
    ("github-token", "github_pat_", r"[A-Za-z0-9_]{22,255}"),
    ("gitlab-token", "glpat- gldt- glrt- glcbt- glptt- glft- glimt- glagent- glsoat-", r"[\w-]{16,255}"),
    ("anthropic-api-key", "sk-ant-", r"[\w-]{16,255}"),
    ("openai-api-key", "sk-proj- sk-svcacct- sk-admin- sk-or-v1-", r"[\w-]{16,255}"),
    ("api-key", "sk-", r"[A-Za-z0-9]{20,255}"),
    ("slack-token", "xoxa- xoxb- xoxe- xoxo- xoxp- xoxr- xoxs- xapp-", r"[A-Za-z0-9-]{10,255}"),
    ("google-api-key", "AIza", r"[\w-]{35}"),
    ("google-oauth", "GOCSPX- ya29.", r"[\w.-]{20,1024}"),
    ("stripe-key", "sk_live_ sk_test_ rk_live_ rk_test_ whsec_", r"[A-Za-z0-9+/=]{16,255}"),
    ("npm-token", "npm_", r"[A-Za-z0-9]{36}"),
    ("pypi-token", "pypi-", r"[\w-]{50,1024}"),
    ("huggingface-token", "hf_", r"[A-Za-z0-9]{30,64}"),
    ("sendgrid-api-key", "SG.", r"[\w-]{16,64}\.[\w-]{16,64}"),
    ("digitalocean-token", "dop_v1_ doo_v1_ dor_v1_", r"[a-f0-9]{64}"),
    ("docker-token", "dckr_pat_", r"[\w-]{20,64}"),
    ("groq-api-key", "gsk_", r"[A-Za-z0-9]{40,64}"),
    ("xai-api-key", "xai-", r"[A-Za-z0-9]{40,128}"),
    ("shopify-token", "shpat_ shpca_ shppa_ shpss_", r"[a-fA-F0-9]{32}"),
    ("tailscale-key", "tskey-", r"[\w-]{20,128}"),
    ("age-secret-key", "AGE-SECRET-KEY-1", r"[A-Z0-9]{58}"),
    ("jwt", "eyJ", r"[\w-]{10,8192}\.eyJ[\w-]{10,16384}\.[\w-]{0,4096}"),
)
_PREFIXED = [
    (label, prefix, re.compile(rf"(?<![A-Za-z0-9_-]){re.escape(prefix)}(?:{rest})"))
    for label, prefixes, rest in _FORMS
    for prefix in prefixes.split()
]
_BEGIN = re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_END = re.compile(r"-----END [A-Z0-9 ]{0,40}-----")
# Longer than any key that is in use.
_KEY_LENGTH = 16 * 1024
_HEADER = re.compile(
    r"(?:authorization[\"'\\]{0,4}\s{0,3}[:=]\s{0,3}[\"'\\]{0,4}(?:bearer|basic|token|apikey)|bearer)\s{1,3}"
    r"([A-Za-z0-9._~+/-]{8,4096}={0,3})",
    re.IGNORECASE,
)
_ADDRESS = re.compile(r"://[^\s/:@\"'<>]{0,100}:([^\s/@\"'<>]{1,255})@")
# A name, what gives it a value, and the value: in quotes, or as far as it goes.
_NAMED = re.compile(
    r"(passw(?:or)?d|passphrase|pwd|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|auth[_-]?key)"
    r"[\w-]{0,20}[\"'`\\]{0,4}\s{0,3}(?:=>|:=|=|:)\s{0,3}"
    r"(?:\"([^\"\r\n]{4,255})\"|'([^'\r\n]{4,255})'|`([^`\r\n]{4,255})`|([^\s\"'`;,&|<>(){}\[\]$\\]{6,255}))",
    re.IGNORECASE,
)
_NAMES = (
    "passwd", "password", "passphrase", "pwd", "secret", "token",
    *(f"{word}{between}key" for word in ("api", "access", "private", "auth") for between in ("", "_", "-")),
)  # fmt: skip
# Of a field, without what stands between its words.
_NAME_OF_SECRET = re.compile(
    r".*(?:password|passwd|passphrase|secret|secretkey|apikey|accesskey|privatekey|token)|pwd|authorization|cookie"
    r"|credentials?"
)
_PLACEHOLDER = re.compile(
    r"(?i)[$%<{*]|.*\[redacted|x{3,}|\.{3}|your|changeme|placeholder|none$|null$|true$|false$|undefined$|process\.env"
    r"|os\.(?:environ|getenv)"
)
_MIXED = re.compile(r"(?=.{0,255}[0-9])(?=.{0,255}[A-Za-z])")
_CERTAIN = ("pass", "pwd")


def find_secrets(text: str) -> Iterator[Span]:
    """What looks like one in a text."""
    for label, prefix, form in _PREFIXED:
        for match in _matches(form, text, text, prefix):
            yield Span(match.start(), match.end(), label)
    for match in _matches(_BEGIN, text, text, "-----BEGIN "):
        yield _private_key(text, match)
    in_lower = lower(text)
    for match in _matches(_HEADER, text, in_lower, "authorization", "bearer"):
        if not _PLACEHOLDER.match(match[1]):
            yield Span(match.start(1), match.end(1), "authorization")
    for match in _matches(_ADDRESS, text, text, "://"):
        if not _PLACEHOLDER.match(match[1]):
            yield Span(match.start(1), match.end(1), "password")
    for match in _matches(_NAMED, text, in_lower, *_NAMES):
        if (group := _value_of(match)) is not None:
            yield Span(match.start(group), match.end(group), _label(match[1]))


def _matches(pattern: re.Pattern[str], text: str, searched: str, *words: str) -> Iterator[re.Match[str]]:
    """The matches that begin where one of the words does in ``searched``."""
    for position in positions(searched, words):
        if match := pattern.match(text, position):
            yield match


def label_of_name(name: str, value: str) -> str | None:
    """The word for the value of a field of that name, where the name says that it is a secret; else None."""
    plain = re.sub(r"[_.\s-]", "", name[:100].lower())
    if not value or _PLACEHOLDER.match(value) or not _NAME_OF_SECRET.fullmatch(plain):
        return None
    is_certain = "pass" in plain or plain == "pwd"
    return _label(name) if is_certain or (len(value) >= 8 and not re.search(r"\s", value.strip()[:1024])) else None


def _private_key(text: str, begin: re.Match[str]) -> Span:
    """To its end; where that is missing, as far as a key may go, but not into the next one."""
    limit = begin.end() + _KEY_LENGTH
    following = _BEGIN.search(text, begin.end(), limit)
    limit = limit if following is None else following.start()
    end = _END.search(text, begin.end(), limit)
    return Span(begin.start(), min(limit, len(text)) if end is None else end.end(), "private-key")


def _value_of(match: re.Match[str]) -> int | None:
    """The group that holds a value which somebody would hide."""
    group = next(number for number in (2, 3, 4, 5) if match[number] is not None)
    value = match[group]
    if _PLACEHOLDER.match(value):
        return None
    if group == 5:
        return group if _MIXED.match(value) else None
    if match[1].lower().startswith(_CERTAIN):
        return group
    is_word = re.fullmatch(r"[a-z_ -]*|[A-Z_ -]*", value) is not None
    return None if " " in value or (is_word and len(value) < 20) else group


def _label(name: str) -> str:
    lower = name.lower()
    return "password" if "pass" in lower or "pwd" in lower else "token" if "token" in lower else "secret"
