"""The files of a run folder: written when the run starts, closed when it ends."""

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from expkit.checkpoints import write_whole
from expkit.data.bad_files import LIST_NAME, write_bad_files
from expkit.data.dataset import Splits
from expkit.records.facts import code_facts, data_facts, environment_facts


class Record:
    """One run's record: config, overrides, code, environment, data and result, each a plain file of its own."""

    def __init__(self, folder: Path, config: Mapping[str, Any], overrides: Sequence[str], command: str) -> None:
        self.folder = folder
        self._bad_files: dict[str, str] = {}
        self._facts: dict[str, Any] = {"id": folder.name, "status": "running", "started": _now(), "command": command}
        self.write_text("config.yaml", yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True))
        self.write_text("overrides.yaml", yaml.safe_dump(list(overrides), allow_unicode=True))
        code, patch = code_facts()
        self.write_json("code.json", code)
        if patch:
            self.write_text("code.patch", patch)
        self.write_json("env.json", environment_facts())
        self.write_json("record.json", self._facts)

    def data(self, splits: Splits) -> None:
        self.write_json("data.json", data_facts(splits))

    def bad_file(self, name: str, reason: str) -> None:
        """Add a file that cannot be read to the list, which another run reads as dataset.exclude=THIS_FOLDER."""
        self._bad_files[name] = reason
        write_bad_files(self.folder / LIST_NAME, self._bad_files)

    def close(self, status: str, result: Mapping[str, Any], reason: str = "") -> None:
        """Finish the record. status: finished, failed or interrupted; result: scores and what they belong to."""
        self.write_json("result.json", result)
        self._facts |= {"status": status, "ended": _now()} | ({"reason": reason} if reason else {})
        self.write_json("record.json", self._facts)

    def write_json(self, name: str, value: Any) -> None:
        self.write_text(name, json.dumps(value, indent=1, ensure_ascii=False) + "\n")

    def write_text(self, name: str, text: str) -> None:
        write_whole(self.folder / name, lambda file: file.write(text.encode()))


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")
