"""Render a page: everything from a run is escaped, and the page can load or run nothing else."""

import base64
import hashlib
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemBytecodeCache, FileSystemLoader
from jinja2.bccache import Bucket
from markupsafe import Markup

from expkit.core.formatting import count_noun
from expkit.core.user_folders import cache_folder

_HERE = Path(__file__).parent


class _CompiledTemplates(FileSystemBytecodeCache):
    """Caches compiled templates in the user's cache folder, if possible: compiling takes 0.1 s."""

    def __init__(self) -> None:
        super().__init__(str(cache_folder() / "templates"))

    def load_bytecode(self, bucket: Bucket) -> None:
        with suppress(OSError):
            super().load_bytecode(bucket)

    def dump_bytecode(self, bucket: Bucket) -> None:
        if not sys.dont_write_bytecode:
            with suppress(OSError):
                Path(self.directory).mkdir(parents=True, exist_ok=True)
                super().dump_bytecode(bucket)


@cache
def _environment() -> Environment:
    # All text but the page's own script and style is escaped.
    environment = Environment(
        loader=FileSystemLoader(_HERE), bytecode_cache=_CompiledTemplates(), autoescape=True, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.globals["count_noun"] = count_noun
    return environment


def render(template: str, **content: Any) -> str:
    """Return a page. Its content security policy allows no address, and only this script."""
    style, script = ((_HERE / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    own = {"style": Markup(style), "script": Markup(script), "script_digest": f"sha256-{digest}"}
    return _environment().get_template(template).render(**own, **content)


def drawn(svg: str) -> Markup:
    """Mark a chart of expkit.core.plots.svg, whose texts are escaped already, as safe."""
    return Markup(svg)
