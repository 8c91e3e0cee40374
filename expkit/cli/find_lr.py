"""expkit find-lr: trains a config for some steps with a growing learning rate, and suggests one."""

import argparse
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from expkit.cli.arguments import plugin_option
from expkit.cli.commands import command_parser
from expkit.core.command_parser import CommandParser
from expkit.core.files import writing
from expkit.core.formatting import count_noun
from expkit.core.process import importing, mistakes_reported, refuse_torchrun
from expkit.core.user_folders import expanded

Config = dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    with mistakes_reported():
        command = parser()
        own, overrides = command.parse_known_args(arguments)
        refuse_torchrun()
        from expkit.config.command_line import plan
        from expkit.config.hydra_flags import flags_of_place
        from expkit.config.plugins import load_plugins

        load_plugins(own.plugin)
        flags = [word for file in own.plugin for word in ("--plugin", file)] + flags_of_place(overrides)
        planned = plan(overrides, command)
        with importing():
            from expkit.runs.check import check_plan

        jobs = check_plan(planned).jobs
        found = [_find(job.config, [*flags, *job.overrides], own) for job in jobs]
    sys.exit(0 if all(found) else 1)


def parser() -> CommandParser:
    """Return the parser of the command's own flags."""
    made = command_parser("find-lr", "Example: expkit find-lr model=resnet18 optimizer=sgd.", takes_overrides=True)
    add = made.add_argument
    add("--lowest", type=float, default=1e-6, metavar="LR", help="first learning rate (1e-6)")
    add("--highest", type=float, default=10.0, metavar="LR", help="last learning rate (10)")
    add("--steps", type=int, default=100, metavar="N", help="steps in all (100)")
    add("--out", type=expanded, metavar="FILE.png", help="path of the figure (outputs/find_lr/...)")
    plugin_option(made)
    return made


def _find(config: Config, changed: Sequence[str], own: argparse.Namespace) -> bool:
    from expkit.core.plots.log_curve import Curve, draw_curve
    from expkit.runs.lr_finder import run_range_test
    from expkit.runs.resume import run_name

    test = run_range_test(config, own.lowest, own.highest, own.steps)
    rate, lowest = test.suggestion, test.rates[test.lowest]
    marks = {"lowest loss": lowest} | ({"suggestion": rate} if rate is not None else {})
    title = f"{run_name(config)}, {config['optimizer']['name']}: {count_noun(len(test.rates), 'step')} of growing rate"
    high = 2 * test.smooth[0] - min(test.smooth)  # as much room above the first loss as the fall takes below it
    picture = draw_curve(Curve(test.rates, test.smooth, test.losses, marks), title, "optimizer.lr", "loss", high)
    name = f"{run_name(config)}_{time.strftime('%Y-%m-%d_%H-%M-%S')}.png"
    path: Path = own.out or expanded(config["output_dir"]) / "find_lr" / name
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path)
    ending = "the loss went up" if test.went_up else "it never went up: try a higher --highest"
    print(f"tried       {test.rates[0]:.1e} to {test.rates[-1]:.1e} in {count_noun(len(test.rates), 'step')}; {ending}")
    print(f"lowest loss {min(test.smooth):.4f} at {lowest:.1e}, after {test.smooth[0]:.4f} at first")
    print(f"picture     {path}")
    if rate is None:
        print("suggestion  none: the loss did not fall; look at the data, or raise --steps")
        return False
    kept = [word for word in changed if not word.startswith("optimizer.lr=")]
    print(f"suggestion  {shlex.join(['python', '-m', 'expkit.run', *kept, f'optimizer.lr={rate:.2g}'])}")
    return True
