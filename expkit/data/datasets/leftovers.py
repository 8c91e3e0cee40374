"""What other programs leave among images, and files of other kinds: passed over, and counted."""

import os
import re
from collections import Counter
from dataclasses import dataclass, field

from expkit.core.formatting import count_noun

# As systems and programs call what they write beside a person's files. What begins with a dot is left over, too.
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
    """Return True for the name of a file or folder that a system or program has left: __MACOSX, ._cat.jpg, @eaDir."""
    name = name.lower()
    return name.startswith(_BEGINNINGS) or name in _NAMES or _NUMBERED.fullmatch(name) is not None


@dataclass
class PassedOver:
    """What was passed over: leftovers by name, files of other kinds by ending, images that lie in no class folder."""

    leftovers: Counter[str] = field(default_factory=Counter)
    endings: Counter[str] = field(default_factory=Counter)
    loose: Counter[str] = field(default_factory=Counter)

    def file(self, name: str) -> None:
        """Count a file that is not wanted."""
        ending = os.path.splitext(name)[1].lower()
        self.endings[ending if 1 < len(ending) <= _LONGEST_ENDING else "no ending"] += 1

    def leftover(self, name: str) -> None:
        """Count a leftover; those of macOS that stand for a file each are one kind."""
        self.leftovers["._*" if name.startswith("._") else name] += 1

    def add(self, other: "PassedOver") -> None:
        """Count what another one has counted."""
        self.leftovers += other.leftovers
        self.endings += other.endings
        self.loose += other.loose

    def notes(self) -> list[str]:
        """Return a sentence for each kind that was passed over."""
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
        """Return what lies there instead of images, "" for nothing."""
        found = [f"{count:,} {ending}" for ending, count in self.endings.most_common(_SHOWN)]
        found += [f"{count_noun(self.leftovers.total(), 'leftover')} of other programs"] if self.leftovers else []
        return ", ".join(found)


def _listed(counted: Counter[str], always: bool) -> str:
    """Return the most frequent ones with their counts. always: also where the count is 1."""
    most = sorted(counted.items(), key=lambda one: (-one[1], one[0]))
    shown = [f"{name} {count:,}" if always or count > 1 else name for name, count in most[:_SHOWN]]
    return ", ".join(shown) + ", …" * (len(most) > _SHOWN)
