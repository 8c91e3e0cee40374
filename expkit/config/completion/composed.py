"""The groups that Hydra finds and the config that it composes, for completion."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf.errors import OmegaConfBaseException

from expkit.config.conf_folder import conf_folder
from expkit.config.hydra_loader import guarded, to_plain
from expkit.core.errors import ConfigError

_IN_THE_MIDDLE = (HydraException, OmegaConfBaseException, ConfigError)  # a line that is not whole may be anything


def compose(overrides: Sequence[str], is_sweep: bool) -> dict[str, Any]:
    """Return {"groups": {group: [choices, groups in it]}, "config": the config or None}, as far as they are found."""
    groups: dict[str, Any] = {}
    config = None
    with suppress(*_IN_THE_MIDDLE), guarded(), initialize_config_dir(str(conf_folder()), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        groups |= _groups(loader, list(overrides), "")
        mode = RunMode.MULTIRUN if is_sweep else RunMode.RUN
        config = to_plain(loader.load_configuration("config", list(overrides), run_mode=mode))
    return {"groups": groups, "config": config}


def _groups(loader: Any, overrides: list[str], group: str) -> Iterator[tuple[str, list[list[str]]]]:
    """Yield a group and those in it, each with its choices and with the names of the groups in it."""
    choices, inner = (
        loader.get_group_options(group, kind, config_name="config", overrides=overrides)
        for kind in (ObjectType.CONFIG, ObjectType.GROUP)
    )
    yield group, [choices, inner]
    for name in inner:
        yield from _groups(loader, overrides, f"{group}/{name}".lstrip("/"))
