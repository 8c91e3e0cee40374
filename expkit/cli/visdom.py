"""expkit visdom: starts a Visdom server for this machine, with or without internet."""

import argparse
import re
import shutil
import subprocess
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from expkit.cli.commands import command_parser
from expkit.cli.visdom_server import listen, own_names, serve, without_slow_imports
from expkit.core.command_parser import CommandParser
from expkit.core.errors import ConfigError
from expkit.core.extras import visdom_install_command
from expkit.core.process import mistakes_reported
from expkit.core.user_folders import cache_folder, expanded
from expkit.core.version import package_version

# The scripts of visdom's page, by npm package and version; visdom's own downloader needs three sites, and crashes
# where one of them cannot be reached.
PACKAGES = {
    "jquery": "3.1.1", "bootstrap": "3.3.7", "react": "16.2.0", "react-dom": "16.2.0", "react-modal": "3.1.10",
    "plotly.js-dist-min": "2.11.1", "sjcl": "1.0.7", "layout-bin-packer": "1.4.0", "d3": "3.5.17",
    "d3-selection-multi": "1.0.1", "save-svg-as-png": "1.4.17", "classnames": "2.2.5",
}  # fmt: skip
_UNTIL_0_2 = {"react-resizable": "1.4.6", "react-grid-layout": "0.16.3", "mathjax": "2.7.5"}
_SINCE_0_3 = {"react-resizable": "3.1.3", "react-grid-layout": "2.2.3", "mathjax": "3.2.2"}
_FONT = "glyphicons-halflings-regular"
FILES = {
    "js/jquery.min.js": "jquery/dist/jquery.min.js",
    "js/bootstrap.min.js": "bootstrap/dist/js/bootstrap.min.js",
    "js/react-react.min.js": "react/umd/react.production.min.js",
    "js/react-dom.min.js": "react-dom/umd/react-dom.production.min.js",
    "js/react-modal.min.js": "react-modal/dist/react-modal.min.js",
    "js/plotly-plotly.min.js": "plotly.js-dist-min/plotly.min.js",
    "js/sjcl.js": "sjcl/sjcl.js",
    "js/layout_bin_packer.js": "layout-bin-packer/dist/layout-bin-packer.js",
    "js/layout-bin-packer.js.map": "layout-bin-packer/dist/layout-bin-packer.js.map",
    "js/d3.v3.min.js": "d3/d3.min.js",
    "js/d3-selection-multi.v1.js": "d3-selection-multi/build/d3-selection-multi.js",
    "js/saveSvgAsPng.js": "save-svg-as-png/lib/saveSvgAsPng.js",
    "css/react-resizable-styles.css": "react-resizable/css/styles.css",
    "css/react-grid-layout-styles.css": "react-grid-layout/css/styles.css",
    "css/bootstrap.min.css": "bootstrap/dist/css/bootstrap.min.css",
    "fonts/classnames": "classnames/index.js",
    **{f"fonts/{_FONT}.{kind}": f"bootstrap/dist/fonts/{_FONT}.{kind}" for kind in ("eot", "woff", "woff2", "ttf")},
    f"fonts/{_FONT}.svg#glyphicons_halflingsregular": f"bootstrap/dist/fonts/{_FONT}.svg",
}
_MATHJAX_2 = (
    "config/Safe.js", "config/TeX-AMS-MML_HTMLorMML.js", "extensions/Safe.js", "jax/output/SVG/fonts/TeX/fontdata.js",
    "jax/output/SVG/jax.js", "jax/output/SVG/fonts/TeX/Size1/Regular/Main.js", "jax/output/SVG/config.js", "MathJax.js",
)  # fmt: skip
_MATHJAX_3 = ("es5/tex-mml-svg.js",)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    with mistakes_reported():
        _start(parser().parse_args(arguments))


def parser() -> CommandParser:
    """Return the parser of the command."""
    made = command_parser("visdom")
    add = made.add_argument
    add("--port", type=_port, default=8097, metavar="N", help="port (8097)")
    add("--folder", default="outputs/visdom", metavar="FOLDER", help="folder of the environments (outputs/visdom)")
    add("--all-addresses", action="store_true", help="be reachable from other machines, by anyone")
    names = "name by which a proxy or other machines reach the server; may be repeated"
    add("--host", action="append", default=[], metavar="NAME", help=names)
    add("--page", default=str(cache_folder() / "visdom"), metavar="FOLDER", help="folder of the scripts of the page")
    add("--version", action="version", version=f"expkit {package_version()}")
    return made


def _start(given: argparse.Namespace) -> None:
    try:
        with without_slow_imports():
            visdom: Any = import_module("visdom")
            import_module("visdom.server.app")
    except ImportError as error:
        missing = f"cannot be imported ({error})" if find_spec("visdom") else "is not installed"
        raise ConfigError(f"visdom: {missing}; {visdom_install_command()}") from error
    folder = expanded(given.folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--folder: {folder}: {error.strerror}; give a folder that you may write to") from error
    static = page_files(Path(visdom.__file__).parent / "static", expanded(given.page), visdom.__version__)
    names = {name.lower() for name in given.host} | (own_names() if given.all_addresses else set())
    try:
        sockets = listen(given.port, None if given.all_addresses else "127.0.0.1")
    except OSError as error:
        raise ConfigError(f"--port: {given.port} cannot be opened: {error.strerror}; give another one") from error
    try:
        serve(sockets, str(folder), static, names)
    except OSError as error:
        raise ConfigError(f"--folder: {folder}: {error.strerror}; give a folder that you may write to") from error
    finally:
        for one in sockets:
            one.close()


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text[:6]) < 65536):
        raise argparse.ArgumentTypeError(f"takes a number from 1 to 65535, got {text!r}")
    return int(text)


def page_files(own: Path, cache: Path, version: str) -> Path:
    """Return a folder with all that the page loads: visdom's own, or a copy in `cache` with the scripts from npm.

    own: visdom's; version: of visdom. Where the scripts cannot be had, says so; the server takes points all the same.
    """
    if (own / "js" / "jquery.min.js").is_file():
        return own
    static = cache / ("static" if version == "0.2.4" else f"static-{version}")
    if (static / "complete").is_file():
        return static
    npm = shutil.which("npm")
    if npm is None:
        return _without_page(own, "npm is not installed")
    print("visdom: fetching the page's scripts from npm, once (about a minute)", flush=True)
    try:
        cache.mkdir(parents=True, exist_ok=True)
        if failure := _fill(static, own, cache, npm, version):
            return _without_page(own, failure)
        (static / "complete").touch()
    except OSError as error:
        return _without_page(own, f"--page: {cache}: {error.strerror}")
    return static


def _fill(static: Path, own: Path, cache: Path, npm: str, version: str) -> str:
    """Copy visdom's own files and the scripts to a folder; returns why that failed, or ""."""
    is_new = tuple(map(int, re.findall(r"\d+", version)[:2])) >= (0, 3)
    packages = PACKAGES | (_SINCE_0_3 if is_new else _UNTIL_0_2)
    names = [f"{name}@{number}" for name, number in packages.items()]
    options = ["--ignore-scripts", "--no-audit", "--no-fund", "--legacy-peer-deps", "--silent", "--prefix", str(cache)]
    done = subprocess.run([npm, "install", *options, *names], capture_output=True, text=True)
    if done.returncode:
        return f"npm failed: {' '.join(done.stderr.split())[:200]}"
    shutil.copytree(own, static, dirs_exist_ok=True)
    mathjax = packages["mathjax"]
    math = {f"js/mathjax/{mathjax}/{name}": f"mathjax/{name}" for name in (_MATHJAX_3 if is_new else _MATHJAX_2)}
    for name, source in (FILES | math).items():
        (static / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(cache / "node_modules" / source, static / name)
    return ""


def _without_page(own: Path, reason: str) -> Path:
    print(
        f"warning: the page stays empty, for its scripts are missing ({reason}); points are taken and kept", flush=True
    )
    return own
