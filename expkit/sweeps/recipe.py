"""The best setting of a sweep as an experiment: a file for conf/experiment/."""

from typing import Any

import yaml

from expkit.config.diff import affects
from expkit.core.escaping import one_line
from expkit.core.formatting import count_noun
from expkit.sweeps.groups import REPLICATES, Group, replicates_in


def recipe(group: Group, monitor: str) -> str:
    """Return the overrides of a group as an experiment, ready for conf/experiment/; paths and names are left out.

    Fold, split and seed are left out too, since the score is a mean over these.
    """
    config, tried = group.members[0].config, [key for key in REPLICATES if key in group.members[0].differs]
    words = [word.lstrip("+") for word in group.members[0].overrides]
    left_out = ("hydra", "~", *(f"{key}=" for key in ("seed", "dataset.fold", *tried)))  # of one member of the group
    words = [word for word in words if not word.startswith(left_out)]
    words = [word for word in words if affects(word.partition("=")[0], config).what == "result"]
    defaults: list[str] = []
    tree: dict[str, Any] = {}
    for word in words:
        key, _, choice = word.partition("=")
        if key == "experiment":
            defaults[:0] = [f"  - {choice}"] * (choice != "null")
        elif isinstance(config.get(key), dict):
            defaults.append(f"  - override /{key}: {choice}")
        else:
            _set(tree, key.split("."), config)
    if config.get("dataset", {}).get("fold") is not None:  # an experiment may have chosen one too
        tree.setdefault("dataset", {})["fold"] = None
    lines = ["# @package _global_"]  # Hydra looks for it in the first line
    count = count_noun(len(group.scores), replicates_in(group.members).rstrip("s"))
    setting = " ".join(f"{key}={value}" for key, value in group.differs.items()) or "the only one"
    lines.append(f"# val/{monitor} {group.mean:.4f} over {count}: {one_line(setting)}")
    lines += ["defaults:", *defaults] if defaults else []
    return "\n".join(lines) + "\n" + (yaml.safe_dump(tree, sort_keys=False) if tree else "")


def _set(tree: dict[str, Any], path: list[str], config: Any) -> None:
    """Copy the value at a path of a config into a tree, if there is one."""
    for name in path:
        if not isinstance(config, dict) or name not in config:
            return
        config = config[name]
    for name in path[:-1]:
        tree = tree.setdefault(name, {})
    tree[path[-1]] = config
