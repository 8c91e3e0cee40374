"""Secrets in prose, logs, command lines and settings: tokens, logins in addresses, and values of secret names."""

import re
from collections.abc import Iterator
from typing import Literal

from expkit.config.redaction.names import Level, level_in_environment, level_of
from expkit.config.redaction.values import SECRET, TOKENS, is_secret, random_runs

Kind = Literal["prose", "settings", "code"]

_LOGIN = re.compile(r"(?<=://)(?:[^\s'\"<>@/:]{0,200}:(?!\d{1,6}(?:[/\s'\"]|$))[^\s'\"<>]{0,200}@|[^\s/@'\"]{1,200}@)")
_BLANKS = re.compile(r"(?:(?:\{[^{}]*\}|%s|\$\w+|\$\{\w+\}|<\w+>):?){1,2}@")  # what is filled in later
_ADDRESS = re.compile(r"(https?://[^\s/'\"<>]+)(/[^\s'\"<>)\]]*)")
_AUTHORIZATION = re.compile(
    r"(\b(?:proxy-)?authorization\b['\"]?\]?\s*[:=,]\s*[fFbBrRuU]{0,2}['\"]?)(?!\s|['\"])([^'\"\n,}]+)"
    r"|\b((?:Basic|Bearer|Token|ApiKey|Digest|Negotiate)[ \t]+)(?!realm\b|auth\b)([\w.~+/=:-]{6,})", re.I
)  # fmt: skip
_FLAG = re.compile(r"((?<![\w-])--?([A-Za-z][\w-]*)(?:[ \t]+|=))('[^'\n]*'|\"[^\"\n]*\"|[^\s'\"]+)")
_LOGIN_FLAG = re.compile(
    r"((?:\bcurl\b[^\n|;]{0,200}?\s(?:-u|--user)[ =]?|\bsshpass\s+-p"
    r"|\b(?:mysql|mysqldump|mysqladmin|mariadb)\b[^\n|;]{0,200}?\s-p"
    r"(?=\S)|\bredis-cli\b[^\n|;]{0,200}?\s-a|\b(?:docker|podman|helm|az|oc)\b[^\n|;]{0,200}?\blogin\b[^\n|;]{0,200}?\s-p"
    r"|\b(?:mongo|mongosh|sqlcmd|ldapsearch)\b[^\n|;]{0,200}?\s-[pPw]|\bopenssl\b[^\n|;]{0,200}?\s-(?:k|passin|passout)"
    r"|\bsmbclient\b[^\n|;]{0,200}?\s-U|\bwandb\s+login|\b(?:zip|unzip|mosquitto_(?:pub|sub))\b[^\n|;]{0,200}?\s-P"
    r"|\b7za?\b[^\n|;]{0,200}?\s-p|\btwine\b[^\n|;]{0,200}?\s-p|\bhttps?(?=[ \t])[^\n|;]{0,200}?\s-a(?=[ \t])"
    r"|\bconfig\s+set\s+-n\s+\w*key\s+-v)[ \t]*)(?![-<>|&])('[^'\n]*'|\"[^\"\n]*\"|[^\s'\"]+)"
)
_PIPED = re.compile(
    r"(\becho\s+(?:-\w+\s+)?)([^\n|]{1,200}?)"
    r"(?=\s*\|[^\n|]{0,200}(?:--password-stdin|passwd|--token-stdin|-stdin|\bsudo\s+(?:-\w+\s+)*-\w*S)\b)"
)
_SAID = re.compile(
    r"((?<![\w-])([A-Za-z]\w{0,60})[ \t]+(?:(?:is|was|are)(?:[ \t]+now)?:?|[-=]+>|:=)[ \t]+['\"`]?)([^\s'\"`]+)"
)
# `pw hunter2`, `password \`hunter2\``: what follows the word itself, where it has letters and digits.
_AFTER_NAME = re.compile(
    r"(\b(?:password|passwd|passphrase|passwort|pwd|pw)[ \t]+['\"`]?)"
    r"((?=[^\s'\"`]*\d)(?=[^\s'\"`]*[A-Za-z])[^\s'\"`,;()]{5,})", re.I
)  # fmt: skip
_LOGIN_SAID = re.compile(
    r"(\b(?:logins?|users?|username|account|credentials?|creds)[ \t]*[:=][ \t]*[\w.@+-]{1,60}[ \t]*[/|][ \t]*)"
    r"([^\s'\"`,;]+)",
    re.I,
)
_LOGIN_AT = re.compile(r"(?<![\w./@:-])([A-Za-z][\w.-]{0,60}:)([^\s:@/'\"<>{}$%]{4,80})(?=@(?!sha\d)[\w-]+[.:/])")
_SPACED = re.compile(
    r"^([ \t]*(?:ENV|ARG|set|setenv|configure set|git config(?: --\w+)?)[ \t]+(?:-\w+[ \t]+)*([\w.-]+)[ \t]+)(\S+)",
    re.M,
)
_SET = re.compile(
    r"(\b(?:configure set|config (?:set|create|update|add)\b[^\n|;]{0,80}?)[ \t]+"
    r"([\w.-]{0,40}(?:key|token|pass|secret|auth)[\w.-]{0,40})[ \t]+)([^\s'\"]+)"
)
_TAG = re.compile(r"(<([\w.:-]+)(?:\s[^<>]*)?>)([^<>]+)(?=</\2>)")
_ATTRIBUTE = re.compile(r"(<[^<>]*\b(?:name|key|id)=['\"]([\w.:-]+)['\"][^<>]*\bvalue=['\"])([^'\"<>]+)")
_PGPASS = re.compile(r"^([\w.*-]+:(?:\d+|\*):[^:\s]+:[^:\s]+:)(\S+)$", re.M)
_QUERY = re.compile(r"([?&](?:sig|signature|key|code|auth|hash|access|pass|t)=)([^&\s'\"<>]{8,})")
_NETRC = re.compile(r"(\blogin\s+\S+\s+(?:account\s+\S+\s+)?password\s+)(\S+)")
_NAME = r"(?<![\w$])([A-Za-z_$][\w.$-]{0,80})"
_PREFIX = r"[fFbBrRuU]{0,2}"
_LINE = r"\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)*'"
_QUOTED = rf"\"\"\"[\s\S]*?\"\"\"|'''[\s\S]*?'''|{_LINE}"
_SIGN = rf"=>|:=|\|=|==|!=|=|:(?!//|=)|,(?=[ \t]*{_PREFIX}['\"])"
_BARE = r"[^\s'\",;{}\[\]()&<>|][^\s'\",;}()\]&]{0,400}"
_ASSIGNED = re.compile(
    rf"{_NAME}((?:\\*['\"])?[ \t]*\]?[ \t]*(?:{_SIGN})[ \t]*(?:{_PREFIX}(?=['\"])|\\+(?=\")|))({_QUOTED}|{_BARE})"
)
_REST = re.compile(r"[^\s'\",;}()\]&]*")  # of a value that is longer than those which are looked at
_WITHIN = re.compile(rf"(?<!\\)(['\"]|\A){_NAME}(\s*[=:]\s*)((?:(?!\1)[^\n])+)(?:\1|\Z)")
_ANNOTATED = re.compile(rf"{_NAME}(\s*:\s*[\w.\[\], |]{{1,60}}=\s*{_PREFIX})({_LINE})")


def redact_text(text: str, kind: Kind = "prose") -> str:
    """Return a text without secrets; it keeps its number of lines.

    kind: prose, also of a log or a command line; settings, where a value extends to the end of its line; code, where
    only what is in quotes is a value.
    """
    text = TOKENS.sub(lambda found: SECRET + "\n" * found[0].count("\n"), text)
    text = _LOGIN.sub(lambda found: found[0] if _BLANKS.fullmatch(found[0]) else "", text)
    text = _ADDRESS.sub(_without_hook, text)
    text = _AUTHORIZATION.sub(_without_authorization, text)
    for pattern in (_NETRC, _LOGIN_FLAG, _PIPED, _PGPASS):
        text = pattern.sub(rf"\1{SECRET}", text)
    text = _SAID.sub(lambda found: _replaced(found[0], found[1], found[3], min(_level(found[2]), Level.LIKELY)), text)
    for pattern in (_QUERY, _AFTER_NAME, _LOGIN_SAID, _LOGIN_AT):
        text = pattern.sub(lambda found: _replaced(found[0], found[1], found[2], Level.LIKELY), text)
    for pattern in (_SET, _SPACED, _ATTRIBUTE, _TAG):
        text = pattern.sub(lambda found: _replaced(found[0], found[1], found[3], _level(found[2])), text)
    text = _FLAG.sub(lambda found: _hidden(found[1], found[3], level_of(found[2]), kind), text)
    if kind == "settings":
        text = "\n".join(_settings(text.split("\n")))
    text = _ANNOTATED.sub(lambda found: _hidden(found[1] + found[2], found[3], level_of(found[1]), kind), text)
    text = _WITHIN.sub(lambda found: _within(found, kind), text)
    text = _without_values(text, kind)
    return _without_runs(text)


def _replaced(whole: str, before: str, value: str, level: Level) -> str:
    """Return what comes before a value and the mark for a secret, or the whole where it is none."""
    return before + SECRET if is_secret(value.strip("'\""), level) and SECRET not in value else whole


def _without_hook(found: re.Match[str]) -> str:
    """Leave out the path of a webhook's address, which is all that is needed to write to it."""
    host, path = found[1], found[2]
    random = any(len(part) >= 8 and re.search(r"\d|[a-z][A-Z]", part) for part in re.split(r"[/?&=]", path))
    return f"{host}/{SECRET}" if random and re.search(r"hook|/services/|/trigger/", host + path, re.I) else found[0]


def _without_authorization(found: re.Match[str]) -> str:
    if found[1]:
        scheme, space, value = found[2].partition(" ")
        is_scheme = bool(space) and scheme.isalpha()
        if not is_scheme and not is_secret(found[2], Level.LIKELY):
            return found[0]
        is_left = is_scheme and value.strip() in ("", SECRET)
        return found[0] if is_left else f"{found[1]}{scheme + ' ' if is_scheme else ''}{SECRET}"
    return f"{found[3]}{SECRET}" if is_secret(found[4], Level.LIKELY) else found[0]


def _within(found: re.Match[str], kind: Kind) -> str:
    """Leave out the value where `NAME=value` is all that is in the quotes, or in the text."""
    level = _level(found[2])
    level = min(level, Level.LIKELY) if kind == "prose" and ":" in found[3] else level
    if kind == "code" or found[4][0] in "'\"{[(" or not is_secret(found[4], level):
        return found[0]
    return found[0][: found.start(4) - found.start()] + SECRET + found[1]


def _without_values(text: str, kind: Kind) -> str:
    """Leave out what is assigned to secret names. What is no secret is searched in turn: `f(password="…")`."""
    parts, at, last = [], 0, 0
    while found := _ASSIGNED.search(text, at):
        is_call = text[found.end() : found.end() + 1] == "(" and re.fullmatch(r"[A-Za-z_]\w*(?:\.\w+)+", found[3])
        kept = found[0] if is_call else _without_value(found, kind)
        at = found.start(3)
        if kept != found[0]:
            parts += [text[last : found.start()], kept]
            at = last = found.end() if found[3][0] in "'\"" else _REST.match(text, found.end()).end()  # type: ignore[union-attr]
    return "".join([*parts, text[last:]])


def _without_value(found: re.Match[str], kind: Kind) -> str:
    name, sign, value = found[1], found[2], found[3]
    level = _level(name)
    if kind == "prose" and sign.strip() == ":" and sign.endswith(" "):
        level = min(level, Level.LIKELY)  # `password: the one that was given`
    return _hidden(name + sign, value, level, kind)


def _level(name: str) -> Level:
    level = max(level_of(name.rpartition(".")[2]), level_of(name))
    return level_in_environment(name) if level and re.fullmatch(r"[A-Z][A-Z0-9_]*", name) else level


def _hidden(before: str, value: str, level: Level, kind: Kind) -> str:
    """Return what comes before a value, and the value or its replacement."""
    quote = next((mark for mark in ('"""', "'''", '"', "'") if value.startswith(mark) and value.endswith(mark)), "")
    inner = value[len(quote) : len(value) - len(quote)]
    if kind == "code" and not quote:
        return before + value
    if not is_secret(inner.rstrip("\\`"), level):
        return before + value
    return before + quote + SECRET + "\n" * inner.count("\n") + quote


_SETTING = re.compile(
    r"^(\s*(?:-\s+)?(?:export\s+|set\s+|ENV\s+)?)(['\"]?)([\w.$-](?:[\w.$ -]*?[\w.$-])?)\2(\s*[:=]\s*)(.*)$"
)
_SECTION = re.compile(r"^\s*\[+\s*([\w.\"' -]+?)\s*\]+\s*$")


def _settings(lines: list[str]) -> Iterator[str]:
    """Yield the lines of a YAML, TOML, INI or shell file; what is below a secret name is secret too."""
    inside: int | None = None  # the indentation of a secret name whose value is in the lines below
    section = False
    for line in lines:
        indent = len(line) - len(line.lstrip())
        if line.strip() and inside is not None and indent <= inside and not line.lstrip().startswith("- "):
            inside = None
        if found := _SECTION.match(line):
            section = level_of(found[1]) == Level.CERTAIN
        is_below = inside is not None and bool(line.strip())
        matched = _SETTING.match(line)
        if matched is None or line.lstrip().startswith(("#", ";", "//")):
            yield _item(line) if is_below else line
            continue
        level = Level.CERTAIN if is_below or section else _level(matched[3])
        value = matched[5]
        if level >= Level.LIKELY and re.fullmatch(r"(?:[|>][+-]?\d?)?\s*(?:#.*)?", value):
            inside = indent if inside is None else inside
        yield _setting(line, matched, level)


def _item(line: str) -> str:
    """Return a line of a list or a text below a secret name."""
    start = re.match(r"\s*(?:-\s+)?", line)
    assert start is not None
    return line if re.fullmatch(r"[\s\[\]{},-]*", line) else start[0] + SECRET


def _setting(line: str, matched: re.Match[str], level: Level) -> str:
    value, comment = _value_and_comment(matched[5])
    quote = value[:1] if value[:1] in ("'", '"') and value.endswith(value[:1]) and len(value) > 1 else ""
    inner = value.strip("'\"") if quote else value
    if value[:1] in "[{|>" or not is_secret(inner.rstrip(","), level) or SECRET in value:
        return line
    comma = "," if value.endswith(",") else ""
    return line[: matched.start(5)] + quote + SECRET + quote + comma + comment


def _value_and_comment(text: str) -> tuple[str, str]:
    found = re.match(r"((?:'[^']*'|\"(?:[^\"\\]|\\.)*\"|.*?))(\s+#.*|\s*)$", text)
    return (found[1], found[2]) if found else (text, "")


def _without_runs(text: str) -> str:
    """Leave out random characters without a name; those of an address are needed to find the file."""
    addresses = [found.span() for found in re.finditer(r"(?<!\w)\w+://[^\s'\"<>)\]]+", text)]
    for start, end in reversed(random_runs(text)):
        if not any(first <= start < last for first, last in addresses):
            text = text[:start] + SECRET + text[end:]
    return text
