"""A folder for a run, never shared with another one."""

import time
from pathlib import Path

from expkit.registry import ConfigError
from expkit.user_folders import expanded


def make_run_folder(output_dir: str, name: str) -> Path:
    """Make and return output_dir/name_DATE_TIME, with a suffix where another run of this second was faster.

    mkdir is what decides, so two runs can never have one folder. Raises ConfigError when it may not be made.
    """
    parent = expanded(output_dir)
    stem = f"{name}_{time.strftime('%Y-%m-%d_%H-%M-%S')}"
    try:
        parent.mkdir(parents=True, exist_ok=True)
        for number in range(1, 10_000):
            folder = parent / (stem if number == 1 else f"{stem}_{number}")
            try:
                folder.mkdir()
            except FileExistsError:
                continue
            return folder
    except OSError as error:
        problem = f"cannot make a run folder in '{parent}': {error.strerror}"
        raise ConfigError(f"output_dir: {problem}; give a folder that you may write to") from error
    raise ConfigError(f"output_dir: 10,000 runs began in '{parent}' in one second")
