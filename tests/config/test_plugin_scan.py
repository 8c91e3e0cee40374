"""Words are read from a Python file's text; nothing of it is run."""

from pathlib import Path

from expkit.config.plugin_scan import RegisteredName, file_with, names_in

TEXT = """
import expkit.config.registry
from typing import Literal
from expkit.config.registry import losses, models
raise SystemExit

@models.register("net")
def net(num_classes: int, *, kind: Literal["a", "b"] = "a", deep: bool = False): ...

@losses.register("own", "me")
class Own:
    def __init__(self, weight: float) -> None: ...

@models.other("no")
@models.register(NAME)
def no(): ...
"""


def test_words_with_their_options(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(TEXT)
    assert names_in(tmp_path / "mine.py") == [
        RegisteredName("models", "net", {"num_classes": [], "kind": ["a", "b"], "deep": ["false", "true"]}),
        RegisteredName("losses", "own", {"weight": []}),
    ]
    assert file_with("models", "net", tmp_path) == "mine.py"
    assert file_with("losses", "net", tmp_path) is None


def test_what_is_no_python_has_no_words(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("def (")
    (tmp_path / "binary.py").write_bytes(b"\0\xff")
    for name in ("broken.py", "binary.py", "absent.py"):
        assert names_in(tmp_path / name) == []
