"""python -m expkit.visdom: starts a Visdom server for this machine, with or without internet."""

import argparse
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from expkit.user_folders import cache_folder, expanded

# The scripts of visdom's page, by npm package and version; visdom's own downloader needs three sites, and crashes
# where one of them cannot be reached.
PACKAGES = {
    "jquery": "3.1.1", "bootstrap": "3.3.7", "react": "16.2.0", "react-dom": "16.2.0", "react-modal": "3.1.10",
    "plotly.js-dist-min": "2.11.1", "sjcl": "1.0.7", "layout-bin-packer": "1.4.0", "d3": "3.5.17",
    "d3-selection-multi": "1.0.1", "save-svg-as-png": "1.4.17", "react-resizable": "1.4.6",
    "react-grid-layout": "0.16.3", "classnames": "2.2.5", "mathjax": "2.7.5",
}  # fmt: skip
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
_MATHJAX = (
    "config/Safe.js", "config/TeX-AMS-MML_HTMLorMML.js", "extensions/Safe.js", "jax/output/SVG/fonts/TeX/fontdata.js",
    "jax/output/SVG/jax.js", "jax/output/SVG/fonts/TeX/Size1/Regular/Main.js", "jax/output/SVG/config.js", "MathJax.js",
)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line. Exit codes: 0 ended, 2 a user's mistake, 130 Ctrl+C."""
    parser = argparse.ArgumentParser(prog="python -m expkit.visdom", description=__doc__)
    parser.add_argument("--port", type=int, default=8097)
    parser.add_argument("--folder", default="outputs/visdom", help="where environments are kept")
    parser.add_argument("--all-addresses", action="store_true", help="be reachable from other machines, by anyone")
    parser.add_argument("--page", default=str(cache_folder() / "visdom"), help="where the page's scripts are kept")
    given = parser.parse_args(arguments)
    sys.modules.setdefault("torch", None)  # type: ignore[arg-type]  # its client would import it: seconds, for nothing
    try:
        import visdom
        from visdom.server import app, run_server
    except ImportError:
        print("error: visdom: is not installed; install expkit[visdom]", file=sys.stderr)
        sys.exit(2)
    static = page_files(Path(visdom.__file__).parent / "static", expanded(given.page))
    app.tornado_settings.update(static_path=str(static), template_path=str(static))
    Path(given.folder).mkdir(parents=True, exist_ok=True)
    print(f"visdom: http://localhost:{given.port}  (Ctrl+C ends it)", flush=True)
    try:
        start_server: Any = run_server.start_server
        start_server(port=given.port, base_url="", env_path=given.folder, bind_local=not given.all_addresses)
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as error:
        print(f"error: --port: {given.port} cannot be opened: {error.strerror}; give another one", file=sys.stderr)
        sys.exit(2)


def page_files(own: Path, cache: Path) -> Path:
    """Return a folder with all that the page loads: visdom's own, or a copy in `cache` with the scripts from npm.

    Where they cannot be had, says so; the server takes points all the same.
    """
    if (own / "js" / "jquery.min.js").is_file():
        return own
    static = cache / "static"
    if (static / "complete").is_file():
        return static
    npm = shutil.which("npm")
    if npm is None:
        return _without_page(own, "npm is not installed")
    cache.mkdir(parents=True, exist_ok=True)
    print("visdom: fetching the page's scripts from npm, once (about a minute)", flush=True)
    names = [f"{name}@{version}" for name, version in PACKAGES.items()]
    options = ["--ignore-scripts", "--no-audit", "--no-fund", "--legacy-peer-deps", "--silent", "--prefix", str(cache)]
    done = subprocess.run([npm, "install", *options, *names], capture_output=True, text=True)
    if done.returncode:
        return _without_page(own, f"npm failed: {' '.join(done.stderr.split())[:200]}")
    shutil.copytree(own, static, dirs_exist_ok=True)
    math = {f"js/mathjax/2.7.5/{name}": f"mathjax/{name}" for name in _MATHJAX}
    for name, source in (FILES | math).items():
        (static / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(cache / "node_modules" / source, static / name)
    (static / "complete").touch()
    return static


def _without_page(own: Path, reason: str) -> Path:
    print(
        f"warning: the page stays empty, for its scripts are missing ({reason}); points are taken and kept", flush=True
    )
    return own


if __name__ == "__main__":
    main()
