"""Files that other programs leave among images, and files of other types: skipped and counted."""

import os
import re
from collections import Counter
from dataclasses import dataclass, field

from expkit.core.formatting import count_noun

# Names that systems and programs give to their own files. Hidden files are leftovers too.
_NAMES = frozenset(
    {
        "__macosx", "icon\r", "network trash folder", "temporary items", "thevolumesettingsfolder",  # macOS
        "thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "recycler", "recycled", "picasa.ini",  # Windows
        "system volume information", "_vti_cnf", "lost.dir",  # Windows, Android
        "lost+found", "__pycache__", "cvs", "node_modules",  # Linux, programming
        "#recycle", "@recycle", "@recently-snapshot", "#snapshot", "~snapshot", "@sharebin", "@tmp",  # NAS
    }
)  # fmt: skip
_BEGINNINGS = (".", "~$", "$recycle.bin", "$windows.~", "$extend", "@eadir", "@syno", "thumbs.db:")
_NUMBERED = re.compile(r"found\.\d{3}")  # of Windows' disk check
_SHOWN = 5
_LONGEST_ENDING = 12


def is_leftover(name: str) -> bool:
    """Return True for the name of a file or folder that a system or program left: __MACOSX, ._cat.jpg, @eaDir."""
    name = name.lower()
    return name.startswith(_BEGINNINGS) or name in _NAMES or _NUMBERED.fullmatch(name) is not None


@dataclass
class PassedOver:
    """Counts of skipped files: leftovers by name, other types by extension, images outside class folders."""

    leftovers: Counter[str] = field(default_factory=Counter)
    endings: Counter[str] = field(default_factory=Counter)
    loose: Counter[str] = field(default_factory=Counter)

    def file(self, name: str) -> None:
        """Count an unwanted file."""
        ending = os.path.splitext(name)[1].lower()
        self.endings[ending if 1 < len(ending) <= _LONGEST_ENDING else "no ending"] += 1

    def leftover(self, name: str) -> None:
        """Count a leftover; macOS's ._ files are one kind."""
        self.leftovers["._*" if name.startswith("._") else name] += 1

    def add(self, other: "PassedOver") -> None:
        """Add the counts of another object."""
        self.leftovers += other.leftovers
        self.endings += other.endings
        self.loose += other.loose

    def notes(self) -> list[str]:
        """Return a sentence for each kind of skipped file."""
        kinds = [
            (self.endings, "file", "", True),
            (self.leftovers, "leftover", " of other programs", False),
            (self.loose, "image", " in no class folder", False),
        ]
        return [
            f"passed over {count_noun(counted.total(), what)}{more} ({_listed(counted, always)})"
            for counted, what, more, always in kinds
            if counted
        ]

    def __str__(self) -> str:
        """Return the files found instead of images, or ""."""
        kinds = [f"{count:,} {ending}" for ending, count in self.endings.most_common(_SHOWN)]
        kinds += [f"{count_noun(self.leftovers.total(), 'leftover')} of other programs"] if self.leftovers else []
        return ", ".join(kinds)


def _listed(counted: Counter[str], always: bool) -> str:
    """Return the most frequent names with their counts. always: show the count even if it is 1."""
    most = sorted(counted.items(), key=lambda item: (-item[1], item[0]))
    shown = [f"{name} {count:,}" if always or count > 1 else name for name, count in most[:_SHOWN]]
    return ", ".join(shown) + ", …" * (len(most) > _SHOWN)
