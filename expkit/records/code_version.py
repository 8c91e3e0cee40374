"""The code of a run: commit, uncommitted changes, small untracked sources, plugins, and a digest of the package."""

import hashlib
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from expkit.config.redaction.redactor import Redactor
from expkit.core.formatting import count_noun
from expkit.records.digests import NAME as RECORD

_SOURCES = {".py", ".pyi", ".yaml", ".yml", ".toml", ".cfg", ".ini", ".sh", ".ipynb"}
LARGEST = 100_000  # bytes of an untracked source, or of a plugin, in a record
MOST = 200  # of them
PACKAGE = Path(__file__).parents[1]
_DIFF = ("diff", "HEAD", "--no-color", "--no-ext-diff")


def code_facts(redactor: Redactor, output_dir: Path | None = None) -> tuple[dict[str, Any], dict[str, str]]:
    """Return (the facts of code.json, name -> redacted text of the patches and sources).

    output_dir: a folder whose files are not sources.
    """
    texts: dict[str, str] = {}
    found = [_repository(place, number, output_dir, texts, redactor) for number, place in enumerate(_repositories())]
    first = found[0] if found else {"commit": None, "changed": None}
    facts: dict[str, Any] = {"commit": first["commit"], "changed": first["changed"], "expkit_sha256": package_digest()}
    facts["repositories"] = found
    facts["plugins"] = plugin_facts(texts)
    if lost := [name for name in facts["plugins"] if f"plugins/{name}" not in texts]:
        facts["plugins_left_out"] = lost  # larger than LARGEST
    texts |= {name: redactor.source(name, text) for name, text in texts.items() if name.startswith("plugins/")}
    facts["installed_plugins"] = {
        entry.dist.name: entry.dist.version for entry in entry_points(group="expkit.plugins") if entry.dist
    }
    return facts, texts


def package_digest() -> str:
    """Return a sha256 over the names and bytes of this package's Python files."""
    digest = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        digest.update(path.relative_to(PACKAGE).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def plugin_facts(texts: dict[str, str] | None = None) -> dict[str, str]:
    """Return file name -> sha256 of the files given by --plugin and imported modules beside them; add their texts."""
    facts = {}
    for path in _plugin_files():
        content = path.read_bytes()
        facts[path.name] = hashlib.sha256(content).hexdigest()
        if texts is not None and len(content) <= LARGEST:
            texts[f"plugins/{path.name}"] = content.decode(errors="replace")
    return facts


def _plugin_files() -> list[Path]:
    modules = {name: getattr(module, "__file__", None) for name, module in list(sys.modules.items())}
    given = [Path(file).resolve() for name, file in modules.items() if name.startswith("expkit_plugin_") and file]
    if not given:
        return []  # resolving the paths of all modules takes 0.2 s
    folders = {path.parent for path in given}
    beside = (Path(file).resolve() for file in modules.values() if file and file.endswith(".py"))
    near = [path for path in beside if path.parent in folders and path not in given]
    return [path for path in [*given, *sorted(set(near))][:MOST] if path.is_file()]


def _repositories() -> Iterator[Path]:
    """Yield the roots of the repositories: of the working folder, and of the package."""
    seen = set()
    for place, file in ((Path.cwd(), None), (PACKAGE, "__init__.py")):
        if file and not _git(place, "ls-files", "--error-unmatch", file):
            continue  # installed into a project's environment, which does not track it
        root = _git(place, "rev-parse", "--show-toplevel").strip()
        if root and root not in seen:
            seen.add(root)
            yield Path(root)


def _repository(
    root: Path, number: int, output_dir: Path | None, texts: dict[str, str], redactor: Redactor
) -> dict[str, Any]:
    """Return a repository's facts; add its patch and untracked sources to texts."""
    prefix = "" if number == 0 else f"{root.name}_"
    patch = _git(root, *_DIFF)
    facts: dict[str, Any] = {"name": root.name, "commit": _git(root, "rev-parse", "HEAD").strip() or None}
    facts["remote"] = _git(root, "remote", "get-url", "origin").strip() or None
    if output_dir and root.is_relative_to(output_dir.resolve()):
        output_dir = None  # the run started in a folder of sources
    names = _git(root, "ls-files", "--others", "--exclude-standard", "-z").split("\0")
    own = [name for name in names if Path(name).suffix in _SOURCES and not _is_below(root / name, output_dir)]
    untracked, left_out = _without_runs(root, own)
    facts["changed"] = bool(patch or untracked)
    if patch:
        texts[f"{prefix}code.patch"] = redactor.patch(patch, _git(root, *_DIFF, "--unified=1000000"))
        facts |= {"patch": f"{prefix}code.patch", "patch_sha256": hashlib.sha256(patch.encode()).hexdigest()}
    for name in untracked[:MOST]:
        path = root / name
        if fault := _exclusion(path):
            left_out.append(f"{name} ({fault})")
        else:
            texts[f"{prefix}sources/{name}"] = redactor.source(name, path.read_bytes().decode(errors="replace"))
    if untracked:
        facts["untracked"] = untracked[:MOST]
    if len(untracked) > MOST:
        left_out.append(f"{len(untracked) - MOST} more untracked files (a record holds {MOST})")
    if left_out:
        facts["left_out"] = left_out
    return facts


def _exclusion(path: Path) -> str:
    """Return why an untracked source is excluded, "" if it is not."""
    if not path.is_file() or path.is_symlink():
        return "a link" if path.is_symlink() else "not a file"
    size = path.stat().st_size
    return f"{size:,} bytes, more than {LARGEST:,}" if size > LARGEST else ""


def _without_runs(root: Path, names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return (the names outside of run folders, a description of each run folder left out)."""
    is_run: dict[Path, bool] = {}

    def run_of(name: str) -> Path | None:
        for folder in Path(name).parents:
            if folder not in is_run:
                is_run[folder] = folder != Path(".") and (root / folder / RECORD).is_file()
            if is_run[folder]:
                return folder
        return None

    found = {name: run_of(name) for name in names}
    kept = [name for name, run in found.items() if run is None]
    runs = Counter(str(run) for run in found.values() if run is not None)
    left_out = [f"{run}/ (another run, {count_noun(count, 'file')})" for run, count in runs.most_common()]
    return kept, left_out[:20] + [f"{len(left_out) - 20} more runs"] * (len(left_out) > 20)


def _is_below(path: Path, folder: Path | None) -> bool:
    return folder is not None and path.resolve().is_relative_to(folder.resolve())


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=20)
    except (OSError, subprocess.TimeoutExpired):  # no git, or a huge tree: the record has commit null
        return ""
    return done.stdout if done.returncode == 0 else ""
