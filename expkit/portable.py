"""What may leave this machine: texts and configs without secrets, user and host names, and paths of this machine."""

import getpass
import hashlib
import json
import os
import re
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from expkit.user_folders import home_folder

ELSEWHERE = "<elsewhere>"  # stands for the folders above a path that lies outside the home and the working folder
SECRET = "<secret>"

_SECRET_NAME = re.compile(r"token|passw(?:or)?d|passphrase|secret|api_?key|access_?key|credential|private_?key", re.I)
_TOKENS = re.compile(
    r"gh[pousr]_[A-Za-z0-9]{16,}|github_pat_\w{20,}|glpat-[\w-]{16,}|hf_[A-Za-z0-9]{16,}|sk-[\w-]{16,}"
    r"|xox[abeprs]-[\w-]{10,}|AKIA[0-9A-Z]{16}|AIza[\w-]{30,}|eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"
    r"|(?<=Bearer )[\w.~+/-]{8,}=*|-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?-----END [A-Z ]*PRIVATE KEY-----"
)
_LOGIN = re.compile(r"(?<=://)[^\s/@'\"]+@")
_NAMED = rf"(?:{_SECRET_NAME.pattern})\w*['\"]?\s*[=:]\s*"
_ASSIGNED = re.compile(rf"({_NAMED}['\"]?)([^\s'\",}}]+)", re.I)
_QUOTED = re.compile(rf"({_NAMED}(['\"]))((?:(?!\2).)+)", re.I)  # in code `token = next(stream)` is no secret
_ABSOLUTE = re.compile(r"(?<![\w.:/~<>}-])/(?:[^\s/'\",:=\]}]+/)*([^\s/'\",:=\]}]+)/?")
_EVERYDAY = {"root", "user", "users", "home", "admin", "ubuntu", "debian", "docker", "localhost", "runner", "test"}

# What changes neither a step nor a score, so that two runs that differ in nothing else are one configuration.
_NAMES_ONLY = ("name", "output_dir", "experiment")


class Scrubber:
    """Takes out of texts what belongs to this machine or is secret; what it knows is taken from the process."""

    def __init__(self) -> None:
        values = (value for name, value in os.environ.items() if _SECRET_NAME.search(name) and len(value) >= 6)
        self.secrets = sorted(values, key=len, reverse=True)
        folders = {str(Path.cwd()): ".", str(home_folder()): "~"}
        self.folders = [(_whole(place), mark) for place, mark in folders.items() if place != "/"]
        self.names = [(_whole(name), mark) for name, mark in _names() if len(name) > 3 and name not in _EVERYDAY]

    def text(self, text: str, code: bool = False) -> str:
        """Return a text that may be shared; code: of source code, whose other paths and plain words stay."""
        for secret in self.secrets:
            text = text.replace(secret, SECRET)
        text = _LOGIN.sub("", _TOKENS.sub(SECRET, text))
        text = _QUOTED.sub(rf"\1{SECRET}", text) if code else _ASSIGNED.sub(rf"\1{SECRET}", text)
        for place, mark in self.folders:
            text = place.sub(mark, text)
        text = text.replace("./", "", 1) if text.startswith("./") and not code else text
        text = text if code else _ABSOLUTE.sub(rf"{ELSEWHERE}/\1", text)
        for name, mark in self.names:
            text = name.sub(mark, text)
        return text

    def value(self, value: Any, key: str = "") -> Any:
        """Return a plain value of a config (dicts, lists, texts, numbers) that may be shared."""
        if isinstance(value, Mapping):
            return {name: self.value(one, str(name)) for name, one in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(one, key) for one in value]
        if not isinstance(value, str):
            return value
        if _SECRET_NAME.search(key) and value:
            return SECRET
        return self._path(value) if os.path.isabs(value) else self.text(value)

    def _path(self, path: str) -> str:
        """Return a whole path, whatever characters it has, from the working folder, from home, or from elsewhere."""
        place = Path(os.path.normpath(path))
        if Path.cwd() != Path("/") and place.is_relative_to(Path.cwd()):
            return self.text(str(place.relative_to(Path.cwd())))
        if home_folder() != Path("/") and place.is_relative_to(home_folder()):
            return self.text(str("~" / place.relative_to(home_folder())))
        return self.text(f"{ELSEWHERE}/{place.name}")


def _whole(name: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w.-]){re.escape(name)}(?![\w-])")


def _names() -> Iterator[tuple[str, str]]:
    yield socket.gethostname(), "<host>"
    yield socket.gethostname().split(".")[0], "<host>"
    for variable in ("USER", "LOGNAME", "SUDO_USER"):
        yield os.environ.get(variable, ""), "<user>"
    yield home_folder().name, "<user>"
    try:
        yield getpass.getuser(), "<user>"
    except (OSError, KeyError):  # a container's user may have no name
        return


def config_hash(config: Mapping[str, Any]) -> str:
    """Return a sha256 of what a config computes: without the names of its run and the checkpoint it goes on from."""
    kept = {name: value for name, value in config.items() if name not in _NAMES_ONLY}
    if isinstance(node := kept.get("checkpoint"), Mapping):
        kept["checkpoint"] = {name: value for name, value in node.items() if name not in ("resume", "force")}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()
