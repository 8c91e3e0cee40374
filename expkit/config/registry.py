"""Names become objects: one closed registry per config group, whose options are checked against signatures."""

import importlib
import inspect
import re
import shlex
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from expkit.config.checked import CheckedNode
from expkit.config.docstrings import about
from expkit.config.entry import Entry
from expkit.config.signature import (
    OUTPUT,
    PLACE,
    RESULT,
    SPEED,
    Affects,
    Misfit,
    Option,
    describe,
    fit,
    options_of,
    subject_of,
)  # fmt: skip
from expkit.config.torch_names import instead, meant
from expkit.core.errors import ConfigError, nearest

Factory = TypeVar("Factory", bound=Callable[..., Any])


_NOUNS = {"transforms": "transform", "transforms.batch": "batch transform", "watch": "watcher"}  # of a group's members


class Registry:
    """The registered names of one config group.

    group: the group's name in the config; home: the module whose import registers the built-in names;
    runtime: options that the run finds out by itself (number of classes, device, ...), which no YAML may set;
    subjects: names of the first parameter of a plain function that is an object itself, and does not make one;
    affects: what its options affect unless they declare it themselves; known: the same for options that mean the same
    for every name (`name`: the registered name itself); builds_once: a checked node is built once and then reused.
    """

    def __init__(
        self, group: str, home: str, runtime: Iterable[str] = (), subjects: Iterable[str] = (),
        affects: Affects = RESULT, known: Mapping[str, Affects] | None = None, builds_once: bool = False,
    ) -> None:  # fmt: skip
        self.group, self._subjects = group, frozenset(subjects)
        self.affects, self.known, self._builds_once = affects, known or {}, builds_once
        self.runtime = frozenset(runtime)
        self._home = home
        self._entries: dict[str, Entry] = {}
        self._shared: Callable[..., Any] | None = None
        self._lazy: dict[str, Callable[[], object]] = {}

    # ---- registration --------------------------------------------------------------------------------------

    def register(self, name: str, source: str = "expkit") -> Callable[[Factory], Factory]:
        """Return a decorator that registers a factory under a name: `@models.register("my_net")`."""

        def add(factory: Factory) -> Factory:
            self.add(name, factory, source)
            return factory

        return add

    def add(self, name: str, factory: Callable[..., Any], source: str, *more: Callable[..., Any]) -> None:
        """Register one name; `more` are callables whose parameters the factory takes too, through its **kwargs."""
        if name in self._entries:
            taken = self._entries[name]
            raise ConfigError(f"{self.group}: '{name}' of {source} is already taken by {taken.source}")
        self._entries[name] = Entry(name, factory, source, (factory, *more), subject_of(factory, self._subjects))

    def lazily(self, prefix: str, load: Callable[[], object]) -> None:
        """Call `load` to register the names with a prefix only when one of them is requested: the import takes long."""
        self._lazy[prefix] = load

    def share(self, options: Factory) -> Factory:
        """Decorate the dataclass of the options that every name of this group takes beside its own."""
        self._shared = options
        return options

    # ---- lookup --------------------------------------------------------------------------------------------

    def names(self) -> list[str]:
        """Return every registered name, sorted."""
        importlib.import_module(self._home)
        return sorted(self._entries)

    def entry(self, name: str) -> Entry:
        """Return the entry of a name; raise ConfigError with the nearest name when there is none."""
        if name not in self.names():
            self.load_lazily(name)
        if name not in (names := self.names()):
            others = self._see() if len(names) > 8 else "there is " + ", ".join(names)
            hint = self._in_plugin(name) or instead(self.group, name) or nearest(name, names) or f"; {others}"
            raise ConfigError(f"{self.group}.name: unknown {_NOUNS.get(self.group, self.group)} {name!r}{hint}")
        return self._entries[name]

    def load_lazily(self, name: str) -> None:
        """Register the names of `lazily` that have the prefix of this one."""
        self.names()
        for prefix in [prefix for prefix in self._lazy if name.startswith(prefix)]:
            self._lazy[prefix]()
            self._lazy.pop(prefix, None)  # only now: an import that fails is reported each time

    def options(self, name: str) -> dict[str, Option]:
        """Return the options that a YAML file may set for a name: its own and the group's."""
        own = self._own_options(name)  # first: it imports what declares the shared ones
        return self._shared_options() | own

    def about(self, name: str, option: str) -> str:
        """Return what the factory's docstring says of an option, else that of the group's options, or ""."""
        return self.entry(name).about(option) or about(self._shared.__doc__ or "" if self._shared else "", option)

    def find_option(self, name: str, option: str) -> Option | None:
        """Return an option of a name, or a shared one where the name is of a plugin that is not loaded, or None."""
        known = self.options(name) if name in self.names() else self._shared_options()
        return known.get(option)

    def options_of_all(self) -> set[str]:
        """Return every option that some name of this group takes."""
        return {option for name in self.names() for option in self.options(name)}

    def _own_options(self, name: str) -> dict[str, Option]:
        return {key: option for key, option in self.entry(name).options().items() if key not in self.runtime}

    def _shared_options(self) -> dict[str, Option]:
        return options_of(self._shared) if self._shared else {}

    def _in_plugin(self, name: str) -> str:
        """Return `; add --plugin mine.py` where a file of the working folder registers the name."""
        from expkit.config.plugin_scan import file_with

        variable = next((variable for variable, value in globals().items() if value is self), "")
        file = file_with(variable, name, Path.cwd())
        return f"; {file} registers it: add --plugin {shlex.quote(str(file))}" if file else ""

    def _see(self) -> str:
        return f"see `python -m expkit.run --list {self.group}`"

    # ---- checking a node of the config ---------------------------------------------------------------------

    def check(self, node: object, path: str = "") -> CheckedNode:
        """Check a node of the config (`name:` and options). Raises ConfigError with all its faults."""
        path = path or self.group
        if not isinstance(node, Mapping) or not isinstance(node.get("name"), str):
            remedy = f"write {{name: {node}}}" if isinstance(node, str) else self._see()
            if isinstance(node, str) and (call := re.match(r"\W*(?:name:\s*)?([\w.]+)\((.*)\)", node)):
                remedy = f"write {{name: {call[1].rpartition('.')[2]}}}, with its options as name: value beside it"
            raise ConfigError(f"{path}: expected a mapping with a `name`, got {node!r}; {remedy}")
        try:
            options = self.options(node["name"])
        except ConfigError as error:
            faults = (fault.replace(f"{self.group}.name", f"{path}.name", 1) for fault in error.faults)
            raise ConfigError(*faults) from error
        return self._checked(node, path, options)

    def _checked(self, node: Mapping[str, Any], path: str, options: dict[str, Option]) -> CheckedNode:
        given, fitted, faults = {key: value for key, value in node.items() if key != "name"}, {}, list[str]()
        for key, value in given.items():
            try:
                fitted[key] = self._fitted(path, node["name"], options, key, value)
            except ConfigError as error:
                faults += error.faults
        needed = [option for option in options.values() if option.required and option.name not in given]
        faults += [f"{path}.{one.name}: {node['name']} needs it ({describe(one.annotation)})" for one in needed]
        shared = None
        try:
            shared = self.shared(given)
        except ConfigError as error:
            faults += error.faults
        if faults:
            raise ConfigError(*faults)
        own = self._own_options(node["name"])
        return CheckedNode(node, {key: value for key, value in fitted.items() if key in own}, shared)

    def _fitted(self, path: str, name: str, options: dict[str, Option], key: str, value: object) -> Any:
        if key in self.runtime:
            raise ConfigError(f"{path}.{key}: is set when the run starts; remove it")
        if key not in options:
            raise ConfigError(f"{path}.{key}: {name} has no option '{key}'{meant(str(key), options, value)}")
        try:
            return fit(options[key].annotation, value)
        except Misfit as misfit:
            raise ConfigError(f"{path}.{key}: {misfit}, got {value!r}") from misfit

    def shared(self, node: Mapping[str, Any]) -> Any:
        """Return the dataclass of the group's shared options, or None; values that do not fit are left out."""
        if isinstance(node, CheckedNode):
            return node.options
        options, fitted = self._shared_options(), {}
        for key in options.keys() & node.keys():
            with suppress(Misfit):  # reported already
                fitted[key] = fit(options[key].annotation, node[key])
        return self._shared(**fitted) if self._shared is not None else None

    def faults(self, node: object, path: str = "") -> list[str]:
        """Return the faults of a node of the config, one sentence each."""
        try:
            self.check(node, path)
        except ConfigError as error:
            return list(error.faults)
        return []

    def replaced(self, node: CheckedNode, values: Mapping[str, Any]) -> CheckedNode:
        """Return a checked node with other values for options of its own. Raises ConfigError."""
        own = self._own_options(node["name"])
        arguments = {key: self._fitted(self.group, node["name"], own, key, value) for key, value in values.items()}
        return CheckedNode({**node, **values}, node.arguments | arguments, node.options)

    # ---- building ------------------------------------------------------------------------------------------

    def build(self, node: Mapping[str, Any], path: str = "", **runtime: Any) -> Any:
        """Call the factory of a node with its own options and the runtime values that it has parameters for.

        A checked node is not checked again. Raises ConfigError for a faulty one, or if the factory refuses the values.
        """
        checked = node if isinstance(node, CheckedNode) else self.check(node, path)
        if not self._builds_once:
            return self._build(checked, path, runtime)
        if checked.built is None:
            checked.built = self._build(checked, path, runtime)
        return checked.built

    def _build(self, node: CheckedNode, path: str, runtime: Mapping[str, Any]) -> Any:
        entry = self.entry(node["name"])
        parameters = set().union(*(inspect.signature(one).parameters for one in entry.signatures))
        arguments = node.arguments | {key: value for key, value in runtime.items() if key in parameters}
        if entry.subject:
            return partial(entry.factory, **arguments)
        try:
            return entry.factory(**arguments)
        except (TypeError, ValueError, ArithmeticError) as error:
            if entry.source == "expkit":  # our own factories raise ConfigError: anything else is our bug
                raise
            raise ConfigError(f"{path or self.group}: {entry.name} refuses these options: {error}") from error


_MOVED = Affects("place", "forced")
datasets = Registry(
    "dataset", "expkit.data.datasets",
    known={"root": PLACE, "val_root": PLACE, "annotations": _MOVED, "val_annotations": _MOVED, "exclude": _MOVED},
)  # fmt: skip
transforms = Registry(
    "transforms", "expkit.data.transforms", subjects=("image", "img", "pic", "picture", "tensor", "x")
)
tasks = Registry("task", "expkit.tasks.builtin")
mixings = Registry("transforms.batch", "expkit.data.mixing", runtime=("num_classes",))
samplers = Registry("sampler", "expkit.data.samplers", runtime=("targets", "class_names", "generator", "data_source"))
_NEVER = Affects("result", "never")  # the state is that of another thing
models = Registry("model", "expkit.models", runtime=("num_classes",), known={"name": _NEVER})
losses = Registry("loss", "expkit.training.losses", runtime=("class_names", "class_counts", "task"))
optimizers = Registry("optimizer", "expkit.training.optimizers", runtime=("params",), known={"name": _NEVER})
schedules = Registry(
    "schedule", "expkit.training.schedules", runtime=("optimizer", "total_steps", "epochs", "steps_per_epoch")
)
# Ranks have each a part of the same batches: the sums' order differs, and their draws of dropout.
devices = Registry("device", "expkit.devices", affects=SPEED, builds_once=True)
loggers = Registry("logger", "expkit.loggers", runtime=("folder", "run_name"), affects=OUTPUT)
watchers = Registry("watch", "expkit.training.watch", affects=OUTPUT)
metrics = Registry(
    "metric", "expkit.tasks.metrics", runtime=("facts", "class_names", "targets", "target", "labels", "truth"),
    subjects=("outputs", "preds", "predictions", "probabilities", "scores"), affects=OUTPUT,
)  # fmt: skip
checkpoints = Registry("checkpoint", "expkit.checkpoints", runtime=("folder",), affects=OUTPUT, builds_once=True)

_ALL = (
    datasets, tasks, transforms, samplers, models, losses, optimizers, schedules, devices, loggers, watchers, metrics,
    checkpoints,
)  # fmt: skip
GROUPS = {registry.group: registry for registry in _ALL}
