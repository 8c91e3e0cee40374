"""The keys, choices and words that may stand at the end of a list of overrides."""

from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property

from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from hydra.plugins.completion_plugin import DefaultCompletionPlugin
from hydra.types import RunMode
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from expkit.config.completion.cache import Vocabulary, vocabulary
from expkit.config.hydra_loader import Config, conf_folder, guarded, to_plain
from expkit.core.errors import ConfigError

_IN_THE_MIDDLE = (HydraException, OmegaConfBaseException, ConfigError)  # a line that is not whole may be anything


class Query:
    """Hydra's completion of groups, choices and keys, with the registry's words and options beside it."""

    def __init__(self, plugins: Sequence[str] = (), is_sweep: bool = False) -> None:
        self.plugins, self.is_sweep = plugins, is_sweep

    @cached_property
    def known(self) -> Vocabulary:
        return vocabulary(self.plugins)

    def listed(self, asked: Sequence[str]) -> list[str]:
        """Return what may follow `--list`: a group, then one of its words."""
        if not asked:
            return list(self.known)
        return [word for word in self.known.get(asked[0], {}) if word] if len(asked) == 1 else []

    def words(self, overrides: Sequence[str], current: str) -> list[str]:
        """Return the overrides that begin with what has been typed of one, sorted."""
        with guarded(), initialize_config_dir(str(conf_folder()), version_base="1.3"):
            loader = GlobalHydra.instance().config_loader()
            found: list[str] = []
            config: Config = {}
            with suppress(*_IN_THE_MIDDLE):
                found = DefaultCompletionPlugin(loader)._query("config", " ".join([*overrides, current or " "]))
            if "." in current:
                with suppress(*_IN_THE_MIDDLE):
                    mode = RunMode.MULTIRUN if self.is_sweep else RunMode.RUN
                    config = to_plain(loader.load_configuration("config", list(overrides), run_mode=mode))
            found = [_list_as_value(word, config) for word in found]
            return sorted({word for word in [*found, *self._registered(current, config)] if word.startswith(current)})

    def _registered(self, current: str, config: Config) -> list[str]:
        """Return what the registry knows of a word such as `model.na`, `model.name=res` or `+model.`."""
        typed, sign = current.lstrip("+"), "+" * (len(current) - len(current.lstrip("+")))
        key, has_value, _ = typed.partition("=")
        group, _, option = key.partition(".")
        node = OmegaConf.to_container(OmegaConf.create(config.get(group) or {}))
        if group not in self.known or not isinstance(node, dict):
            return []
        if has_value and option == "name":
            return [f"{sign}{key}={word}" for word in self.known[group] if word]
        options = self.known[group].get(str(node.get("name")), {})
        if has_value:
            return [f"{sign}{key}={value}" for value in options.get(option, [])]
        return [f"+{group}.{one}=" for one in options if one not in node] if sign else []


def _list_as_value(word: str, config: Config) -> str:
    """Return `key=` for `key.` where a list lies: it is given whole."""
    node: object = config
    for part in word.rstrip(".").split("."):
        node = node.get(part) if isinstance(node, dict) else None
    return f"{word[:-1]}=" if word.endswith(".") and isinstance(node, list) else word
