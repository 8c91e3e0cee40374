"""What stands in a page of Markdown: its fenced blocks, its code spans, its tables."""

import re
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, and its text without the fences."""

    language: str
    text: str

    @property
    def place(self) -> str | None:
        """Return the file that the block's first line names, as in `# conf/model/mine.yaml`."""
        named = re.match(r"# (\S+\.(?:py|yaml))\n", self.text)
        return named[1] if named else None

    def commands(self) -> list[str]:
        """Return the lines of a shell block, without comments."""
        assert self.language == "sh"
        text = re.sub(r"\s*\\\n\s*", " ", self.text)  # a line that goes on in the next one
        lines = (re.sub(r"(^|\s{2,})#.*", "", line).strip() for line in text.splitlines())
        return [line for line in lines if line]

    def code(self) -> str:
        """Return the text without its comments, which another language words in its own way."""
        lines = (re.sub(r"(^|\s{2,})# (?!\S+\.(py|yaml)$).*", "", line) for line in self.text.splitlines())
        return "\n".join(line for line in lines if line)


def blocks(page: Path) -> list[Block]:
    return [Block(language, text) for language, text in _FENCE.findall(page.read_text(encoding="utf-8"))]


def spans(page: Path) -> list[str]:
    """Return what stands between backquotes outside of blocks; a table's escaped bars are plain ones."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    return [found.replace(r"\|", "|") for found in _SPAN.findall(text)]


def tables(page: Path) -> list[list[list[str]]]:
    """Return the code spans of each table's rows."""
    found: list[list[list[str]]] = []
    inside = False
    for line in _FENCE.sub("", page.read_text(encoding="utf-8")).splitlines():
        if line.startswith("|"):
            if not inside:
                found.append([])
            found[-1].append([span.replace(r"\|", "|") for span in _SPAN.findall(line)])
        inside = line.startswith("|")
    return found
