"""Hydra's own settings on the command line: those without effect in expkit are refused with what replaces them."""

from collections.abc import Sequence

from expkit.core.errors import ConfigError
from expkit.core.escaping import as_override


def refuse_unheeded(overrides: Sequence[str], is_sweep: bool, is_ours: bool) -> None:
    """Refuse settings of Hydra's node that would have no effect. Raises ConfigError.

    is_ours: whether expkit runs the jobs, and not Hydra one after the other.
    """
    given = dict(word.lstrip("+").partition("=")[::2] for word in overrides if word.lstrip("+").startswith("hydra."))
    changes_folder = given.get("hydra.job.chdir", "").lower() in ("true", "1")
    faults = []
    if (folder := given.get("hydra.run.dir", ".")) != "." and not changes_folder and not is_sweep:
        faults.append(f"hydra.run.dir: run folders are made in output_dir; give {as_override('output_dir', folder)}")
    if is_sweep and "hydra.run.dir" in given:
        faults.append("hydra.run.dir: is for a single run; the folder of a sweep is hydra.sweep.dir=…")
    if is_ours and is_sweep and changes_folder:
        faults.append("hydra.job.chdir: the jobs of a sweep all run in this folder; leave it out")
    if is_ours and is_sweep and "hydra.sweep.subdir" in given:
        faults.append("hydra.sweep.subdir: each job's folder has its number and config in its name; leave it out")
    if is_ours and is_sweep and given.get("hydra.verbose", "false").lower() != "false":
        faults.append("hydra.verbose: shows what Hydra does, and expkit runs a sweep by itself; leave it out")
    if not is_sweep and "hydra.sweep.dir" in given:
        faults.append("hydra.sweep.dir: is for a sweep; add -m, or give output_dir=… for the folder of runs")
    if not is_sweep and "hydra.sweep.subdir" in given:
        faults.append("hydra.sweep.subdir: is for a sweep; leave it out, output_dir=… is the folder of runs")
    if faults:
        raise ConfigError(*faults)
