"""Fills a page's template: everything that comes from a run is escaped, and the page may load and run nothing else."""

import base64
import hashlib
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup

_HERE = Path(__file__).parent


@cache
def _environment() -> Environment:
    # The page's own script and style are the only text that is not escaped; all else is, by default.
    return Environment(loader=FileSystemLoader(_HERE), autoescape=True, trim_blocks=True, lstrip_blocks=True)


def render(template: str, **content: Any) -> str:
    """Return a page. Its content policy lets no address be loaded, and only this very script run."""
    style, script = ((_HERE / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    own = {"style": Markup(style), "script": Markup(script), "script_digest": f"sha256-{digest}"}
    return _environment().get_template(template).render(**own, **content)


def drawn(svg: str) -> Markup:
    """Mark a chart of expkit.drawing.svg, which has escaped its texts, as ready for the page."""
    return Markup(svg)
