"""Write the record of a run folder, valid from the first moment, even if the run is killed."""

import hashlib
import json
import os
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from expkit.config.diff import differences
from expkit.config.redaction.redactor import Redactor, config_hash
from expkit.config.yaml_safety import DUMPER
from expkit.core.errors import ConfigError
from expkit.core.escaping import json_bytes
from expkit.core.files import Reserve, append_line, overwrite, remove_temporary_files, write_bytes
from expkit.core.formatting import timestamp
from expkit.core.sealing import sealed
from expkit.data.bad_files import LIST_NAME, read_bad_files, write_bad_files
from expkit.data.dataset import Splits
from expkit.loggers.base import Logger
from expkit.records import data_locations, fingerprint
from expkit.records.code_version import code_facts, package_digest
from expkit.records.digests import CHECKPOINTS, NAME, digests, foreign_files
from expkit.records.environment import DataFacts, data_facts, environment_facts
from expkit.records.fingerprint import LIST_NAME as LISTED
from expkit.records.lost import describe_lost, is_fixed, lost_files, put_aside, read_facts, unknown_files
from expkit.records.packages import package_versions
from expkit.records.run_folder import RunFolder

FORMAT = 1
RESULT = "result.json"
EVENTS = "events.jsonl"


class Record:
    """One run's record: config, overrides, code, environment, data and result, each in a plain file.

    record.json covers the others by their digests: during the run those that do not change, at its end all. No secret,
    user or host name, or path of this machine is written.
    """

    def __init__(self, folder: Path, config: Mapping[str, Any], overrides: Sequence[str], command: str) -> None:
        self._begin(folder)
        self._config = config
        self._facts |= {"format": FORMAT, "id": folder.name, "status": "running", "started": timestamp()}
        self._facts |= {"command": self.redactor.command(command), "config_sha256": config_hash(config)}
        self._facts |= {"files": {}, "fixed": []}
        self._save()  # at once: collecting the rest takes a moment
        self.event("started", process=os.getpid())
        self._fixed("config.yaml", _yaml(self.redactor.value(config)))
        self._fixed("overrides.yaml", _yaml([self.redactor.setting(one) for one in overrides]))
        self._fixed_facts("env.json")
        self._fixed_facts("code.json")
        self._save()

    @classmethod
    def reopen(cls, folder: Path, config: Mapping[str, Any], command: str, **facts: Any) -> "Record":
        """Reopen the record of an earlier run in a folder; facts: of the event "resumed".

        The first start, its code and environment stay; the event holds the present ones. A changed config replaces the
        first, which is kept beside it. Lost files are rebuilt if possible, see `notes`.
        """
        record = cls.__new__(cls)
        record._begin(folder)
        record._config = config
        found, problem = read_facts(folder)
        lost = ({NAME: problem} | unknown_files(found) if problem else {}) | lost_files(folder, found)
        before: dict[str, Any] = {name: found[name] for name in ("status", "ended", "reason") if name in found}
        record._facts = {name: value for name, value in found.items() if name not in ("ended", "reason", "checkpoints")}
        fixed = {name: found["files"][name] for name in found["fixed"] if name in found["files"] and name not in lost}
        aside = {name: put_aside(folder / name) for name in lost if name == NAME or is_fixed(name)}
        record._foreign = foreign_files(folder, found)
        record._facts |= {"status": "running", "files": fixed, "fixed": [*fixed]}
        before["changed"] = record._change_config(config)
        record._save()  # before any file that it covered changes
        remove_temporary_files(folder)
        (folder / RESULT).unlink(missing_ok=True)
        if (folder / LIST_NAME).is_file():
            record._bad_files = _known_bad_files(folder)
        facts |= {"before": before, "command": record.redactor.command(command), "process": os.getpid()}
        facts |= {"config": config_hash(config)}
        record.event("resumed", expkit_sha256=package_digest(), environment=environment_facts(config), **facts)
        record._rebuild(lost, aside)
        return record

    def _rebuild(self, lost: Mapping[str, str], aside: Mapping[str, str]) -> None:
        """Rebuild lost files if possible, and report them in the notes and in the record."""
        for name in ("env.json", "code.json"):  # lost, or never written by a killed run
            if name not in self._facts["files"]:
                self._fixed_facts(name)
        rebuilt = dict.fromkeys(("config.yaml", "env.json", "code.json", "data.json", LISTED), "this start")
        sentences = describe_lost(lost, rebuilt | {NAME: "the other files"}, aside)
        for sentence in sentences:
            self.event("warning", text=sentence)
        self.notes += sentences
        if sentences:
            texts = [sentence.removeprefix("warning: ") for sentence in sentences]
            self._facts["rebuilt"] = [*self._facts.get("rebuilt", []), {"time": timestamp(), "lost": texts}]
        self._save()

    def _fixed_facts(self, name: str) -> None:
        if name == "env.json":
            self._fixed(name, _json(self.redactor.value(environment_facts(self._config))))
            return
        code, texts = code_facts(self.redactor, self.folder.parent)
        for path, text in texts.items():
            self._fixed(path, text)
        self._fixed(name, _json(self.redactor.value(code)))
        if left_out := [one for repository in code["repositories"] for one in repository.get("left_out", [])]:
            self.event("warning", text="some sources are not in the record", left_out=left_out)

    def _begin(self, folder: Path) -> None:
        self.folder = folder
        self.redactor = Redactor()
        self._bad_files: dict[str, str] = {}
        self._foreign: set[str] = set()
        self._reserve = Reserve(folder)
        self._reserve.take()
        self._unwritten: deque[bytes] = deque()  # lines of events
        self._events = threading.Lock()  # the thread that writes checkpoints adds events too
        self.notes: list[str] = []  # sentences for the user on a resumed folder
        self._facts: dict[str, Any] = {}

    def _change_config(self, config: Mapping[str, Any]) -> list[str]:
        """Replace a changed config, keep the one before beside it, and return what changed."""
        path = self.folder / "config.yaml"
        # Without an entry the run was killed before it wrote the config.
        old = dict(RunFolder(self.folder).config) if "config.yaml" in self._facts["files"] else {}
        new = self.redactor.value(config)
        if isinstance(old.get("checkpoint"), dict):  # the event holds what is resumed; the config does not
            kept = [key for key in ("resume", "force", "init_from") if key in config["checkpoint"]]
            new["checkpoint"] |= {key: old["checkpoint"].get(key) for key in kept}
        if not (changed := [str(one) for one in differences(old, new)]):
            return []
        self._facts["files"].pop("config.yaml", None)
        self._save()
        if old:
            number = sum(name.startswith("config_before_") for name in self._facts["fixed"]) + 1
            self._fixed(f"config_before_{number}.yaml", path.read_bytes())
        self._fixed("config.yaml", _yaml(new))
        self._facts["config_sha256"] = config_hash(config)
        return changed if old else []

    def data(self, splits: Splits, known: DataFacts | None = None, changes: Sequence[str] = ()) -> None:
        """Write the facts about the data: classes, sizes, fingerprints, and the digest of each file.

        known: of data_facts, if it was called already. A resumed record keeps its facts, unless there are changes
        (sentences on the data); then the former facts stay beside the new ones.
        """
        if "data.json" in self._facts["files"] and LISTED in self._facts["files"] and not changes:
            return
        facts, lines = known or data_facts(splits)
        earlier: list[Any] = []
        if changes and "data.json" in self._facts["files"]:
            earlier = self._keep_data()
        for change in changes:
            self.event("warning", text=f"the data differ from those of the first start: {change}")
        if changes or earlier:
            now = [{"time": timestamp(), "change": self.redactor.text(one)} for one in changes]
            facts = facts | {"changes": [*earlier, *now]}
        shared = self.redactor.value(self._config)
        self._fixed(LISTED, fingerprint.list_bytes(lines))
        self._fixed("data.json", _json(facts | {"notes": self.redactor.value(facts["notes"])}))
        data_locations.remember(self._config, shared, facts)
        self._save()

    def _keep_data(self) -> list[Any]:
        """Keep the former facts about the data beside the new ones; return the changes recorded in them."""
        before = (self.folder / "data.json").read_bytes()
        listed = (self.folder / LISTED).read_bytes() if LISTED in self._facts["files"] else None
        number = sum(name.startswith("data_before_") for name in self._facts["fixed"]) + 1
        self._fixed(f"data_before_{number}.json", before)
        if listed is not None:
            self._fixed(f"data_files_before_{number}.txt.gz", listed)
        for name in ("data.json", LISTED):
            self._facts["files"].pop(name, None)
        self._save()
        found = RunFolder(self.folder).data.get("changes")
        return found if isinstance(found, list) else []

    def bad_file(self, name: str, reason: str) -> None:
        """Add an unreadable file to the list, which another run reads with dataset.exclude=THIS_FOLDER."""
        self._bad_files[name] = self.redactor.text(reason)
        write_bad_files(self.folder / LIST_NAME, self._bad_files)

    def event(self, kind: str, **facts: Any) -> None:
        """Add a line to events.jsonl: started, resumed, checkpoint, warning or ended, with the time."""
        self._unwritten.append(json.dumps({"time": timestamp(), "event": kind, **self.redactor.value(facts)}).encode())
        with suppress(OSError), self._events:  # on a full disk, retry with the next event
            while self._unwritten:
                append_line(self.folder / EVENTS, self._unwritten[0])
                self._unwritten.popleft()

    def close(self, status: str, result: Mapping[str, Any], reason: str = "") -> None:
        """Finish the record. status: finished, failed or interrupted; result: of the run.

        On a full disk at least the status is written. Raises OSError if that fails.
        """
        why = {"reason": self.redactor.text(reason)} if reason else {}
        ended = {"status": status, "ended": timestamp()} | why
        known = RunFolder(self.folder).environment.get("packages", {})
        if later := {name: one for name, one in package_versions().items() if name not in known}:
            self.event("imported", packages=later)
        self._reserve.release()
        self.event("ended", status=status, **why)
        try:
            self._write(RESULT, json_bytes(_json(dict(result))))
            found = digests(self.folder, self._foreign)
            files = {name: one for name, one in found.items() if not name.startswith(CHECKPOINTS)}
            checkpoints = {name: one for name, one in found.items() if name.startswith(CHECKPOINTS)}
            self._write(NAME, sealed(self._facts | {"files": files, "checkpoints": checkpoints} | ended))
        except OSError:
            if not overwrite(self.folder / NAME, sealed(self._facts | ended)):
                raise

    def _fixed(self, name: str, content: str | bytes) -> None:
        """Write a file that will not change; the next save covers it."""
        data = json_bytes(content) if isinstance(content, str) else content
        self._write(name, data)
        self._facts["files"][name] = hashlib.sha256(data).hexdigest()
        if name not in self._facts["fixed"]:
            self._facts["fixed"].append(name)

    def _save(self) -> None:
        self._write(NAME, sealed(self._facts))

    def _write(self, name: str, data: bytes) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, data)


class EventLog(Logger):
    """Adds a run's warnings to its record."""

    direct = True

    def __init__(self, record: Record) -> None:
        self.record = record

    def message(self, text: str) -> None:
        if text.startswith("warning"):
            self.record.event("warning", text=text)


def _known_bad_files(folder: Path) -> dict[str, str]:
    """Return the list in a folder, {} if it is damaged: the files are found again."""
    try:
        return read_bad_files(str(folder))
    except ConfigError:
        return {}


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


def _yaml(value: Any) -> str:
    return yaml.dump(value, Dumper=DUMPER, sort_keys=False, allow_unicode=True)
