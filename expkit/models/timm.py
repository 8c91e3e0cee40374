"""timm's models by name, `timm/...`; timm is imported when such a name is first used."""

from functools import partial
from http.client import HTTPException
from importlib.util import find_spec
from typing import Any, Literal

from torch import nn

from expkit.config.registry import models
from expkit.core.errors import ConfigError, first_line

PREFIX = "timm/"


def _register() -> None:
    """Register every architecture, and every architecture with a tag that names its weights."""
    if find_spec("timm") is None:
        raise ConfigError("model.name: timm's models need the package timm; install expkit[timm]")
    import timm

    for name in dict.fromkeys([*timm.list_models(), *timm.list_pretrained()]):
        build: Any = partial(build_timm, name)
        build.__annotations__ = build_timm.__annotations__
        build.__doc__ = f"timm's {name}."
        models.add(PREFIX + name, build, "timm")


def build_timm(
    name: str,
    *,
    num_classes: int,
    weights: Literal["DEFAULT"] | None = None,
    drop_rate: float | None = None,
    drop_path_rate: float | None = None,
    img_size: int | None = None,
) -> nn.Module:
    """Build one of timm's models, with options that most architectures accept. Raises ConfigError."""
    import timm

    given: dict[str, Any] = {"drop_rate": drop_rate, "drop_path_rate": drop_path_rate, "img_size": img_size}
    given = {option: value for option, value in given.items() if value is not None}
    try:
        model: nn.Module = timm.create_model(name, pretrained=weights is not None, num_classes=num_classes, **given)
    except TypeError as error:
        raise ConfigError(f"model: {PREFIX}{name} refuses these options: {error}; remove them") from error
    except (OSError, RuntimeError, ValueError, AssertionError, HTTPException) as error:
        problem = "could not load its weights; set model.weights=null, or make them available" if weights else "fails"
        raise ConfigError(f"model: {PREFIX}{name} {problem} ({first_line(error)})") from error
    return model


models.lazily(PREFIX, _register)
