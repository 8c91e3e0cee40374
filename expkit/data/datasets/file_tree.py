"""The files below a folder, each real file once, no matter how many links point to it."""

import os
from array import array
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from expkit.data.datasets.leftovers import PassedOver, is_leftover


class FileTree:
    """Walks folders below a root and follows links, visiting each real folder and file once.

    Real entries of the tree come before link targets, so that a link never takes a file from its own folder. Links to
    folders elsewhere are followed; links to parent folders are not.

    paths: of the wanted files, relative to the root, with / on every system. repeated: (path, first path of the same
    file) for each skipped link or hard link. unreadable: folders without permission. passed: leftovers of other
    programs, and unwanted files.
    """

    def __init__(self, root: Path, wanted: Callable[[str], bool], tops: Iterable[str] = ("",)) -> None:
        """tops: folders below the root to walk, by default the root itself. wanted: a predicate on file names."""
        self.root, self._wanted, self._real = root, wanted, os.path.realpath(root)
        self.paths: list[str] = []
        self.repeated: list[tuple[str, str]] = []
        self.unreadable: list[str] = []
        self.passed = PassedOver()
        self._inodes = array("Q")  # of the paths; 0 if unknown
        self._folders: dict[str, str] = {}  # real folder -> path
        self._links: deque[tuple[str, str]] = deque()  # path, real folder that contains it
        tops = list(tops)
        if "" not in tops:
            self._count_others(tops)
        for top in tops:
            if top and os.path.islink(root / top):
                self._links.append((top, self._real))
            else:
                self._walk(top, os.path.realpath(root / top))
        while self._links:
            self._follow(*self._links.popleft())
        self._leave_out_repeated_files()

    def _count_others(self, tops: Sequence[str]) -> None:
        """Count the entries of the root other than the folders to walk."""
        for entry in self._entries(""):
            if is_leftover(entry.name):
                self.passed.leftover(entry.name)
            elif entry.name not in tops and not leads_to_folder(entry):
                if self._wanted(entry.name):
                    self.passed.loose[entry.name] += 1
                else:
                    self.passed.file(entry.name)

    def _walk(self, top: str, real: str) -> None:
        """Add the files of a folder and its subfolders, and collect the links."""
        waiting = [(top, real)]
        while waiting:
            path, real = waiting.pop()
            if real in self._folders:
                self.repeated.append((path, self._folders[real] or "the folder itself"))
                continue
            self._folders[real] = path
            below: list[tuple[str, str]] = []
            for entry in self._entries(path):
                name = f"{path}/{entry.name}" if path else entry.name
                if is_leftover(entry.name):
                    self.passed.leftover(entry.name)
                elif entry.is_symlink():
                    self._links.append((name, real))
                elif leads_to_folder(entry):
                    below.append((name, os.path.join(real, entry.name)))
                elif self._wanted(entry.name):
                    self._add(name, entry.inode())
                else:
                    self.passed.file(entry.name)
            waiting += reversed(below)

    def _entries(self, path: str) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(self.root / path) as entries:
                return sorted(entries, key=lambda entry: entry.name)
        except PermissionError:
            self.unreadable.append(path)
            return []

    def _follow(self, path: str, parent: str) -> None:
        place = self.root / path
        real = os.path.realpath(place)
        if os.path.isdir(real):
            if above := next((folder for folder in (parent, self._real) if _holds(real, folder)), None):
                self.repeated.append((path, "the folder that it lies in" if above == real else "a folder above it"))
            else:
                self._walk(path, real)
        elif self._wanted(os.path.basename(path)):
            # A broken link stays in the list: reading it raises the error.
            self._add(path, os.stat(real).st_ino if os.path.exists(real) else 0)
        else:
            self.passed.file(path)

    def _add(self, path: str, inode: int) -> None:
        self.paths.append(path)
        self._inodes.append(inode)

    def _leave_out_repeated_files(self) -> None:
        inodes = np.array(self._inodes, dtype=np.uint64)
        _, first, group = np.unique(inodes, return_index=True, return_inverse=True)
        again = [number for number in np.flatnonzero(first[group] != np.arange(len(inodes))).tolist() if inodes[number]]
        pairs = [(number, int(first[group[number]])) for number in again]
        pairs = [(late, early) for late, early in pairs if self._is_same(self.paths[late], self, self.paths[early])]
        self.repeated += [(self.paths[late], self.paths[early]) for late, early in pairs]
        repeated = {late for late, _ in pairs}
        self._keep([number for number in range(len(self.paths)) if number not in repeated])

    def leave_out(self, tops: Collection[str]) -> None:
        """Remove the files below some of the root's folders."""
        self._keep([number for number, path in enumerate(self.paths) if path.partition("/")[0] not in tops])

    def _keep(self, numbers: Sequence[int]) -> None:
        self.paths = [self.paths[number] for number in numbers]
        self._inodes = array("Q", [self._inodes[number] for number in numbers])

    def _is_same(self, path: str, other: "FileTree", other_path: str) -> bool:
        """Return True if two paths are one file. Equal inode numbers are a hint: not every file system is exact."""
        first, second = self.root / path, other.root / other_path
        if os.path.realpath(first) == os.path.realpath(second):
            return True
        return os.path.samefile(first, second) and os.stat(first).st_nlink > 1

    def shared_with(self, other: "FileTree") -> Iterator[str]:
        """Yield the files of this tree that are also in the other, by path, link or hard link."""
        place = {inode: number for number, inode in enumerate(other._inodes) if inode}
        for path, inode in zip(self.paths, self._inodes, strict=True):
            if inode in place and self._is_same(path, other, other.paths[place[inode]]):
                yield path

    @property
    def known(self) -> frozenset[str]:
        """The paths as a set."""
        return frozenset(self.paths)

    def notes(self) -> list[str]:
        """Return messages on the links, folders and files that were skipped."""
        notes = []
        if self.repeated:
            path, other = self.repeated[0]
            count = len(self.repeated)
            names = f"{count:,} links or further names" if count > 1 else "1 link or further name"
            notes.append(f"each file is read once: passed over {names} of what is there already ({path}: {other})")
        if self.unreadable:
            shown = ", ".join(self.unreadable[:3])
            notes.append(f"warning: no permission to read {len(self.unreadable):,} folder(s), passed over: {shown}")
        return notes + self.passed.notes()


def leads_to_folder(entry: os.DirEntry[str]) -> bool:
    """Return True for a folder or a link to a folder, False for a link loop."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def _holds(folder: str, other: str) -> bool:
    """Return True if a real folder equals or contains another."""
    return folder == other or other.startswith(folder.rstrip(os.sep) + os.sep)
