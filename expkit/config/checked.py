"""Checked parts of a config: they are not checked again, and do not change."""

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from expkit.config.run_options import RunOptions


class Checked(dict[str, Any]):
    """A checked part of a config. It does not change; a copy is a plain dict, which has to be checked again."""

    def _refuse(self, *given: Any, **named: Any) -> NoReturn:
        raise TypeError("a checked config does not change: change a copy of it, and check that one")

    __setitem__ = __delitem__ = clear = pop = popitem = setdefault = update = _refuse
    __ior__ = _refuse

    def __deepcopy__(self, known: dict[int, Any]) -> dict[str, Any]:
        return copy.deepcopy(dict(self), known)

    def __reduce_ex__(self, protocol: object) -> tuple[type, tuple[dict[str, Any]]]:
        return dict, (dict(self),)


class CheckedNode(Checked):
    """A registered name with valid options.

    arguments: its own options, as its factory takes them; options: the dataclass of those that its group shares;
    built: the object built from it, where the group builds a node once.
    """

    def __init__(self, node: Mapping[str, Any], arguments: dict[str, Any], options: Any) -> None:
        super().__init__(node)
        self.arguments, self.options = arguments, options
        self.built: Any = None


class CheckedConfig(Checked):
    """A whole config, whose nodes are checked ones. options: its scalars."""

    def __init__(self, config: Mapping[str, Any], options: "RunOptions") -> None:
        super().__init__(config)
        self.options = options
