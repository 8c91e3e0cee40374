"""The files of a new project: those in templates/, with its name put in."""

import importlib.util
import keyword
import re
import sys
from pathlib import Path

from expkit.core.errors import ConfigError

_TEMPLATES = Path(__file__).parent / "templates"
_NAME = "my_project"  # stands for the project's name in the templates' texts and file names
_TAKEN = ("conf", "data", "outputs", "tests")  # folders of every project
CONTENTS = {
    "my_project.py": "your data set `patterns` and model `pattern_net`",
    "conf/dataset/patterns.yaml": "your choice dataset=patterns, with its options",
    "conf/model/pattern_net.yaml": "your choice model=pattern_net",
    "conf/experiment/first.yaml": "both of them, and how to train: experiment=first",
    "tests/test_my_project.py": "trains for a moment, and looks at the result",
    "pytest.ini": "the folder of the tests",
    "README.md": "the commands, and how to continue",
    "gitignore": "leaves data and outputs out of the repository",  # the dot would hide it from tools that build wheels
}


def make(folder: Path) -> dict[str, str]:
    """Make a project, and return what each of its files is for. Raises ConfigError, and has made nothing then."""
    name = folder.name
    if fault := _fault(name):
        raise ConfigError(f"expkit new: {fault}")
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ConfigError(f"expkit new: '{folder}' is there already, and not empty; give another name, or empty it")
        made = {}
        for template, content in CONTENTS.items():
            path = template.replace(_NAME, name).replace("gitignore", ".gitignore")
            text = (_TEMPLATES / template).read_text(encoding="utf-8").replace(_NAME, name)
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
            made[path] = content
    except OSError as error:
        raise ConfigError(f"expkit new: cannot write to '{folder}': {error.strerror}; give another folder") from error
    return made


def _fault(name: str) -> str:
    """Return what is wrong with the name of a project, which becomes the name of a Python file; "" for nothing."""
    if not re.fullmatch(r"[a-z_][a-z0-9_]*", name):
        valid = re.sub(r"\W+", "_", name.lower()).strip("_")
        valid = f"_{valid}" if valid[:1].isdigit() else valid
        hint = f", e.g. {valid}" if re.fullmatch(r"[a-z_][a-z0-9_]*", valid) else ""
        return f"'{name}' is no name for a Python file; take small letters, digits and _{hint}"
    if keyword.iskeyword(name):
        return f"'{name}' is a Python keyword; take another name"
    if name in _TAKEN:
        return f"'{name}' is the name of a folder in every project; take another name"
    if name in sys.stdlib_module_names or _is_package(name):
        return f"there is a Python package '{name}', which {name}.py would hide; take another name"
    return ""


def _is_package(name: str) -> bool:
    found = importlib.util.find_spec(name)
    return found is not None and found.origin is not None  # a folder without code is no package
