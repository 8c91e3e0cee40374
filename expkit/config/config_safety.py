"""What a composed config may hold before anything acts on it: no code in a job, only known texts in Hydra's own node.

Hydra makes loggers, callbacks, launchers, folders and environment variables from its node. So a file may set numbers,
switches, help texts and the texts listed here; any other text must be typed by the person who runs it. What is typed
is trusted, except names of code: those are on the list or refused, whoever gives them.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from expkit.config.interpolation import asks_a_resolver, refuse_growth
from expkit.core.errors import ConfigError

# The classes and factories that Hydra's own configs and its published plugins name.
CODE = frozenset(
    {
        "hydra.experimental.callbacks.LogJobReturnCallback",
        "hydra.experimental.callbacks.PickleJobInfoCallback",
        "expkit.sweeps.Pool",  # names that stand for what expkit runs itself
        "expkit.sweeps.Search",
        "hydra_plugins.hydra_joblib_launcher.joblib_launcher.JoblibLauncher",
        "hydra_plugins.hydra_ray_launcher.ray_launcher.RayLauncher",
        "hydra_plugins.hydra_submitit_launcher.submitit_launcher.LocalLauncher",
        "hydra_plugins.hydra_submitit_launcher.submitit_launcher.SlurmLauncher",
        "logging.FileHandler",  # where it may write: see _TEXTS
        "logging.Formatter",
        "logging.NullHandler",
        "logging.StreamHandler",
        "rich.logging.RichHandler",
        "colorlog.ColoredFormatter",
    }
)

# Texts that decide which folders and files Hydra makes or overwrites.
_LOG_FILES = ("${hydra.runtime.output_dir}/${hydra.job.name}.log", "hydra-${hydra.job.name}.log")
_TEXTS = {
    "hydra.run.dir": (".", "outputs/${now:%Y-%m-%d}/${now:%H-%M-%S}"),
    "hydra.sweep.dir": (
        "${output_dir}/sweeps/${now:%Y-%m-%d_%H-%M-%S}",
        "multirun/${now:%Y-%m-%d}/${now:%H-%M-%S}",
    ),
    "hydra.sweep.subdir": ("${hydra.job.num}",),
    "hydra.output_subdir": (".hydra",),
    "hydra.runtime.output_dir": ("???",),  # Hydra fills it in
}
_STREAMS = ("ext://sys.stdout", "ext://sys.stderr")  # logging imports whatever else follows ext://
# Options of launchers and sweepers whose text is for a scheduler or an optimiser, never a command or a name.
_WORDS = {"account", "backend", "constraint", "direction", "partition", "prefer", "pruner", "qos", "sampler"}
_HARMLESS = ("hydra.help", "hydra.hydra_help", "hydra.runtime", "hydra.overrides", "hydra.job.override_dirname")

_CODE_KEYS = ("_target_", "_partial_", "_args_", "_recursive_", "_convert_", "()")


def guard_job(job: Mapping[str, Any]) -> None:
    """Refuse code, resolvers and growing references in an unresolved job's config. Raises ConfigError."""
    faults = []
    for path, key, value in walk(job):
        if key in _CODE_KEYS:
            faults.append(f"{path}: a config may not name code; use a `name` from `python -m expkit.run --list`")
        if isinstance(value, str) and asks_a_resolver(value):
            faults.append(f"{path}: {value!r} may not read the environment or compute; give the value itself")
    if faults:
        raise ConfigError(*faults)
    refuse_growth(dict(job))


def guard_hydra(
    node: Any, typed: Collection[str], given: Collection[str], defaults: Collection[tuple[str, str]],
    own: Collection[str] = (),
) -> None:  # fmt: skip
    """Refuse what could run or overwrite something in Hydra's own unresolved node. Raises ConfigError.

    typed: the paths (hydra.launcher.n_jobs) that the command line sets; given: its overrides as typed; defaults: (path,
    text) pairs of the installed launchers and sweepers; own: classes of Hydra itself, beside CODE.
    """
    if not isinstance(node, Mapping):
        raise ConfigError(f"hydra: expected a mapping, got {node!r}; write the keys of Hydra's node out")
    for path, key, value in walk(node, "hydra"):
        fault = "" if key == "_target_" and value in own else _code_fault(path, key, value)
        if not fault and path not in typed and not (isinstance(value, str) and (path, value) in defaults):
            fault = _text_fault(path, key, value)
        if fault:
            raise ConfigError(f"{path}: {fault}")
    smuggled = [line for lines in node["overrides"].values() for line in lines if line not in given]
    if smuggled:
        raise ConfigError(f"hydra.overrides: '{smuggled[0]}' was not typed; give it on the command line")


def _code_fault(path: str, key: str, value: Any) -> str:
    """Return the fault of a value that names code or sets the environment, whoever gave it, or ""."""
    if key in ("_target_", "class", "()") and not (isinstance(value, str) and value in CODE):
        return f"'{value}' is code from outside Hydra and its plugins; a config may not name code"
    if path in ("hydra.job.env_set", "hydra.job.env_copy") and value:
        return "a config may not touch the environment; set the variable in the shell that starts the run"
    if not _is_logging(path):
        return ""
    if key == ".":
        return "sets attributes of a logging object; a config may not name code"
    if isinstance(value, str) and value.startswith(("ext://", "cfg://")) and value not in _STREAMS:
        return f"'{value}' is code from outside Hydra; a stream is {' or '.join(_STREAMS)}"
    return ""


def _text_fault(path: str, key: str, value: Any) -> str:
    """Return the fault of a text that a file gave, or ""."""
    if path.startswith("hydra.sweeper.params."):
        return _params_fault(path.removeprefix("hydra.sweeper.params."), value)
    option = "output_dir" if path == "hydra.run.dir" else path  # the folder of runs; Hydra's own is refused there, too
    advice = f"only the command line may set it to '{value}'; give {option}=… there"
    if not isinstance(value, str) or key in ("_target_", "class", "()"):
        return ""
    if path in _TEXTS:
        return "" if value in _TEXTS[path] else advice
    if path.startswith(_HARMLESS):
        return ""
    if path == "hydra.job.name":
        return "" if re.fullmatch(r"[\w-]+", value) else advice
    if _is_logging(path) and key == "filename":
        return "" if value in _LOG_FILES else advice
    if path.startswith(("hydra.launcher", "hydra.sweeper")):
        return "" if key in _WORDS and re.fullmatch(r"[\w.,:@-]*", value) else advice
    return advice if "${" in value and value not in _TEXTS["hydra.sweep.subdir"] else ""


def _params_fault(key: str, value: Any) -> str:
    """Return the fault of an override that a file adds to every job of a sweep, or ""."""
    if not re.fullmatch(r"\+{0,2}[A-Za-z_][\w./-]*", key) or re.match(r"\+*hydra\b", key):
        return "a sweep in a file changes keys of the job only; give the rest on the command line"
    return "its value must be one line of text or a number" if not isinstance(value, str | int | float) else ""


def _is_logging(path: str) -> bool:
    return path.startswith(("hydra.job_logging", "hydra.hydra_logging"))


def walk(node: Any, path: str = "") -> Iterator[tuple[str, str, Any]]:
    """Yield (path, key, value) of everything in a tree of plain dicts and lists."""
    items: list[tuple[Any, Any]] = []
    if isinstance(node, Mapping):
        items = list(node.items())
    elif isinstance(node, list):
        items = list(enumerate(node))
    for key, value in items:
        below = f"{path}.{key}" if path else str(key)
        yield below, str(key), value
        yield from walk(value, below)
