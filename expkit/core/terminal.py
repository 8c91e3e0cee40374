"""The one console of all commands: untrusted text is shown as it is, and can neither format nor control anything."""

from collections.abc import Iterable
from typing import IO, Any

import rich.console
from rich.console import ConsoleOptions, RenderableType
from rich.control import Control
from rich.segment import Segment
from rich.text import Text

from expkit.core.escaping import EscapedStream, clear_status, printable


class Console(rich.console.Console):
    """Rich's console, to which a text is a text: no markup, no names of emoji, and no character that acts."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"markup": False, "emoji": False, **options})

    @property
    def file(self) -> IO[str]:
        """The stream below the one that escapes: what is written here is escaped, but for the colours."""
        found: Any = super().file
        while isinstance(found, EscapedStream) or hasattr(found, "rich_proxied_file"):
            found = found.unescaped if isinstance(found, EscapedStream) else found.rich_proxied_file
        return found  # type: ignore[no-any-return]

    @file.setter
    def file(self, new_file: IO[str]) -> None:
        self._file = new_file

    def print(self, *objects: Any, **options: Any) -> None:
        clear_status()
        super().print(*objects, **options)

    def control(self, *control: Control) -> None:
        clear_status()
        super().control(*control)

    def render_str(self, text: str, *more: Any, **options: Any) -> Text:
        return super().render_str(printable(text), *more, **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=printable(segment.text))
