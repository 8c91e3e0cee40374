"""The files of a run folder: begun in its first moment, closed when it ends, valid whenever it is killed."""

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
from expkit.records.digests import CHECKPOINTS, NAME, digests, strangers_in
from expkit.records.environment import DataFacts, data_facts, environment_facts
from expkit.records.fingerprint import LIST_NAME as LISTED
from expkit.records.lost import in_sentences, is_fixed, lost_files, put_aside, read_facts, unknown_files
from expkit.records.packages import package_versions
from expkit.records.run_folder import RunFolder

FORMAT = 1
RESULT = "result.json"
EVENTS = "events.jsonl"


class Record:
    """One run's record: config, overrides, code, environment, data and result, each a plain file of its own.

    record.json vouches for the others by their digests: while the run goes on for those that change no more, at its end
    for all. No secret, user or host name and no path of this machine gets into what is written here.
    """

    def __init__(self, folder: Path, config: Mapping[str, Any], overrides: Sequence[str], command: str) -> None:
        self._begin(folder)
        self._config = config
        self._facts |= {"format": FORMAT, "id": folder.name, "status": "running", "started": timestamp()}
        self._facts |= {"command": self.scrubber.command(command), "config_sha256": config_hash(config)}
        self._facts |= {"files": {}, "fixed": []}
        self._save()  # at once: gathering the rest takes a moment
        self.event("started", process=os.getpid())
        self._fixed("config.yaml", _yaml(self.scrubber.value(config)))
        self._fixed("overrides.yaml", _yaml([self.scrubber.setting(one) for one in overrides]))
        self._fixed_facts("env.json")
        self._fixed_facts("code.json")
        self._save()

    @classmethod
    def reopen(cls, folder: Path, config: Mapping[str, Any], command: str, **facts: Any) -> "Record":
        """Go on with the record of a folder that a run ended in, however it ended; facts: of the event "resumed".

        The first start, its code and environment stay; what is another now is told by the event. A changed config takes
        the place of the first, which stays beside it. A file that is lost is rebuilt where it can be, see `notes`.
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
        record._strangers = strangers_in(folder, found)
        record._facts |= {"status": "running", "files": fixed, "fixed": [*fixed]}
        before["changed"] = record._change_config(config)
        record._save()  # before any file changes that it vouched for
        remove_temporary_files(folder)
        (folder / RESULT).unlink(missing_ok=True)
        if (folder / LIST_NAME).is_file():
            record._bad_files = _known_bad_files(folder)
        told = facts | {
            "before": before,
            "command": record.scrubber.command(command),
            "process": os.getpid(),
            "config": config_hash(config),
        }
        record.event("resumed", expkit_sha256=package_digest(), environment=environment_facts(config), **told)
        record._rebuild(lost, aside)
        return record

    def _rebuild(self, lost: Mapping[str, str], aside: Mapping[str, str]) -> None:
        """Make anew what can be of the files that are lost, and say so, here and for whoever reads the record."""
        for name in ("env.json", "code.json"):  # lost, or of a run that was killed before it wrote them
            if name not in self._facts["files"]:
                self._fixed_facts(name)
        rebuilt = dict.fromkeys(("config.yaml", "env.json", "code.json", "data.json", LISTED), "this start")
        sentences = in_sentences(lost, rebuilt | {NAME: "the other files"}, aside)
        for sentence in sentences:
            self.event("warning", text=sentence)
        self.notes += sentences
        if sentences:
            told = [sentence.removeprefix("warning: ") for sentence in sentences]
            self._facts["rebuilt"] = [*self._facts.get("rebuilt", []), {"time": timestamp(), "lost": told}]
        self._save()

    def _fixed_facts(self, name: str) -> None:
        if name == "env.json":
            self._fixed(name, _json(self.scrubber.value(environment_facts(self._config))))
            return
        code, texts = code_facts(self.scrubber, self.folder.parent)
        for path, text in texts.items():
            self._fixed(path, text)
        self._fixed(name, _json(self.scrubber.value(code)))
        if left_out := [one for repository in code["repositories"] for one in repository.get("left_out", [])]:
            self.event("warning", text="not in the record, of the sources here", left_out=left_out)

    def _begin(self, folder: Path) -> None:
        self.folder = folder
        self.scrubber = Redactor()
        self._bad_files: dict[str, str] = {}
        self._strangers: set[str] = set()
        self._reserve = Reserve(folder)
        self._reserve.take()
        self._unwritten: deque[bytes] = deque()  # lines of events
        self._events = threading.Lock()  # the thread that writes a checkpoint reports it
        self.notes: list[str] = []  # what the user should know of a folder that the run goes on in
        self._facts: dict[str, Any] = {}

    def _change_config(self, config: Mapping[str, Any]) -> list[str]:
        """Take up a config that is another now, and keep the one before beside it; returns what changed."""
        path = self.folder / "config.yaml"
        # Without an entry it was killed before the config was written.
        old = dict(RunFolder(self.folder).config) if "config.yaml" in self._facts["files"] else {}
        new = self.scrubber.value(config)
        if isinstance(old.get("checkpoint"), dict):  # the event names what is resumed; it is no part of the recipe
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
        """Write which data the run has: classes, sizes, fingerprints, and the digest of each file.

        known: what data_facts has found already. A record that is resumed keeps what it has, unless the data are
        others now: changes, in sentences; then what it had stays beside it.
        """
        if "data.json" in self._facts["files"] and LISTED in self._facts["files"] and not changes:
            return
        facts, lines = known or data_facts(splits)
        earlier: list[Any] = []
        if changes and "data.json" in self._facts["files"]:
            earlier = self._keep_data()
        for change in changes:
            self.event("warning", text=f"the data are not those of the first start: {change}")
        if changes or earlier:
            facts = facts | {
                "changes": [*earlier, *({"time": timestamp(), "change": self.scrubber.text(one)} for one in changes)]
            }
        shared = self.scrubber.value(self._config)
        self._fixed(LISTED, fingerprint.list_bytes(lines))
        self._fixed("data.json", _json(facts | {"notes": self.scrubber.value(facts["notes"])}))
        data_locations.remember(self._config, shared, facts)
        self._save()

    def _keep_data(self) -> list[Any]:
        """Put what is known of the data before beside what comes; returns the changes that it tells of."""
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
        """Add a file that cannot be read to the list, which another run reads as dataset.exclude=THIS_FOLDER."""
        self._bad_files[name] = self.scrubber.text(reason)
        write_bad_files(self.folder / LIST_NAME, self._bad_files)

    def event(self, kind: str, **facts: Any) -> None:
        """Add a line to events.jsonl: started, resumed, checkpoint, warning or ended, with the time."""
        self._unwritten.append(json.dumps({"time": timestamp(), "event": kind, **self.scrubber.value(facts)}).encode())
        with suppress(OSError), self._events:  # on a full disk it waits for the next one
            while self._unwritten:
                append_line(self.folder / EVENTS, self._unwritten[0])
                self._unwritten.popleft()

    def close(self, status: str, result: Mapping[str, Any], reason: str = "") -> None:
        """Finish the record. status: finished, failed or interrupted; result: scores and what they belong to.

        On a disk that has filled up meanwhile, how it ended is written all the same; OSError where not even that is.
        """
        told = {"reason": self.scrubber.text(reason)} if reason else {}
        ended = {"status": status, "ended": timestamp()} | told
        self._later_packages()
        self._reserve.release()
        self.event("ended", status=status, **told)
        try:
            self._write(RESULT, json_bytes(_json(dict(result))))
            found = digests(self.folder, self._strangers)
            files = {name: one for name, one in found.items() if not name.startswith(CHECKPOINTS)}
            checkpoints = {name: one for name, one in found.items() if name.startswith(CHECKPOINTS)}
            self._write(NAME, sealed(self._facts | {"files": files, "checkpoints": checkpoints} | ended))
        except OSError:
            if not overwrite(self.folder / NAME, sealed(self._facts | ended)):
                raise

    def _later_packages(self) -> None:
        """Tell of packages that were imported after env.json was written."""
        known = RunFolder(self.folder).environment.get("packages", {})
        if later := {name: one for name, one in package_versions().items() if name not in known}:
            self.event("imported", packages=later)

    def _fixed(self, name: str, content: str | bytes) -> None:
        """Write a file that does not change any more; the next save vouches for it."""
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
    """Has a record tell of the warnings that a run gives."""

    direct = True

    def __init__(self, record: Record) -> None:
        self.record = record

    def message(self, text: str) -> None:
        if text.startswith("warning"):
            self.record.event("warning", text=text)


def _known_bad_files(folder: Path) -> dict[str, str]:
    """Return the list of a folder; nothing where it is damaged: the files are found again."""
    try:
        return read_bad_files(str(folder))
    except ConfigError:
        return {}


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


def _yaml(value: Any) -> str:
    return yaml.dump(value, Dumper=DUMPER, sort_keys=False, allow_unicode=True)
