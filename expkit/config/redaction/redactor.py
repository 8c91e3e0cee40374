"""What may leave this machine: texts and configs without secrets, user and host names, and paths of this machine."""

import getpass
import hashlib
import json
import os
import re
import shlex
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from expkit.config.redaction.names import Level, level_in_environment, level_of
from expkit.config.redaction.sources import redact_patch, redact_source
from expkit.config.redaction.structures import redact_value, secret_values
from expkit.config.redaction.text import redact_text
from expkit.config.redaction.values import SECRET, is_secret
from expkit.core.user_folders import home_folder

ELSEWHERE = "<elsewhere>"  # stands for the folders above a path that lies outside the home and the working folder

_LOGIN = re.compile(r"://[^\s/:@]*:([^\s@]{6,})@")
_PART = re.compile(r"(\w+)=([^;&\s]{6,})")  # of a connection string
_ABSOLUTE = re.compile(r"(?<![\w.:/~<>}-])/(?:[^\s/'\",:=\]}]+/)*([^\s/'\",:=\]}]+)/?")
_EVERYDAY = {"root", "user", "users", "home", "admin", "ubuntu", "debian", "docker", "localhost", "runner", "test"}

# What changes neither a step nor a score, so that two runs that differ in nothing else are one configuration.
_NAMES_ONLY = ("name", "output_dir", "experiment")


class Redactor:
    """Removes from texts what belongs to this machine or is secret, as far as this process knows it."""

    def __init__(self) -> None:
        self.secrets = sorted(set(_environment_secrets()), key=len, reverse=True)
        folders = {str(Path.cwd()): ".", str(home_folder()): "~"}
        self.folders = [(_whole(place), mark) for place, mark in folders.items() if place != "/"]
        self.names = [(_whole(name), mark) for name, mark in _names() if len(name) > 3 and name not in _EVERYDAY]

    def text(self, text: str) -> str:
        """Return a text that may be shared, whole: a sentence, a path."""
        return self._elsewhere(redact_text(self._without_secrets(text)))

    def setting(self, word: str) -> str:
        """Return an override, KEY=VALUE, whose value extends to its end, that may be shared."""
        return self._elsewhere(redact_text(_without_listed(self._without_secrets(word)), "settings"))

    def command(self, command: str) -> str:
        """Return a command line, quoted as a shell reads it, that may be shared."""
        try:
            words = [self.setting(word) for word in shlex.split(command)]
        except ValueError:
            return self.text(command)
        return redact_text(
            " ".join(word if SECRET in word or ELSEWHERE in word else shlex.quote(word) for word in words)
        )

    def log(self, text: str) -> str:
        """Return a line for the log, which stays on this machine: without secrets, with its paths."""
        return redact_text(self._without_secrets(text))

    def source(self, name: str, text: str) -> str:
        """Return a file of source code that may be shared; other paths and plain words in it stay."""
        return redact_source(name, text, self._known)

    def patch(self, patch: str, wide: str) -> str:
        """Return a patch that may be shared; wide: the same patch with all lines of its files."""
        return redact_patch(patch, wide, self._known)

    def _without_secrets(self, text: str) -> str:
        for secret in self.secrets:
            text = text.replace(secret, SECRET)
        return text

    def _known(self, text: str) -> str:
        """Return a text without what is known of this machine: secrets of its environment, folders and names."""
        text = self._without_secrets(text)
        for known, mark in self.folders + self.names:
            text = known.sub(mark, text)
        return text

    def _elsewhere(self, text: str) -> str:
        for place, mark in self.folders:
            text = place.sub(mark, text)
        text = text.replace("./", "", 1) if text.startswith("./") else text
        text = _ABSOLUTE.sub(rf"{ELSEWHERE}/\1", text)
        for name, mark in self.names:
            text = name.sub(mark, text)
        return text

    def value(self, value: Any, key: str = "") -> Any:
        """Return a plain value of a config (dicts, lists, texts, numbers) that may be shared."""
        return redact_value(value, self._leaf, key)

    def _leaf(self, text: str) -> str:
        return self._path(text) if os.path.isabs(text) else self.text(text)

    def _path(self, path: str) -> str:
        """Return an absolute path, whatever characters it has, relative to the working folder, home, or elsewhere."""
        place = Path(os.path.normpath(path))
        if Path.cwd() != Path("/") and place.is_relative_to(Path.cwd()):
            return self.text(str(place.relative_to(Path.cwd())))
        if home_folder() != Path("/") and place.is_relative_to(home_folder()):
            return self.text(str("~" / place.relative_to(home_folder())))
        return self.text(f"{ELSEWHERE}/{place.name}")


def _without_listed(word: str) -> str:
    """Return an override without the secrets in a list or mapping: password=[…], +headers={x-api-key: …}."""
    key, equals, value = word.partition("=")
    if value[:1] not in ("[", "{"):
        return word
    try:
        found = secret_values({key.rpartition(".")[2]: yaml.safe_load(value)})
        for secret in sorted(set(found), key=len, reverse=True):
            value = value.replace(secret, SECRET)
    except (yaml.YAMLError, ValueError, RecursionError):
        return word
    return key + equals + value


def _environment_secrets() -> Iterator[str]:
    """Yield the values, and their parts, that are secret by the names of their variables or as logins."""
    for name, value in os.environ.items():
        level = level_in_environment(name)
        if level >= Level.LIKELY and len(value) >= 6 and is_secret(value, level):
            yield value
            yield from (part for word, part in _PART.findall(value) if level_of(word) >= Level.LIKELY)
        yield from _LOGIN.findall(value)


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
    """Return a sha256 of what a config computes: without the run's name and the checkpoint that it resumes."""
    kept = {name: value for name, value in config.items() if name not in _NAMES_ONLY}
    if isinstance(node := kept.get("checkpoint"), Mapping):
        kept["checkpoint"] = {name: value for name, value in node.items() if name not in ("resume", "force")}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()
