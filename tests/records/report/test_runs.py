"""Real runs leave a report, whatever becomes of them, and a report that cannot be written changes nothing."""

import json
import subprocess
from pathlib import Path

from tests.forks import Forks

SMALL = ["dataset.size=32", "dataset.train_images=40", "dataset.val_images=10", "dataset.num_workers=0"]
SMALL += ["model.width=4", "batch_size=16", "epochs=2", "logger=none"]


def run(commands: Forks, folder: Path, *overrides: str) -> tuple[subprocess.CompletedProcess[str], Path]:
    """Return (what a run's process said, its folder)."""
    own = [f"dataset.root={folder}/shapes", f"output_dir={folder}/outputs", *SMALL, *overrides]
    done = commands.run(folder, *own)
    return done, max((folder / "outputs").iterdir())


def test_a_finished_run_leaves_pictures_and_a_report_even_where_it_cannot_be_replaced(
    commands: Forks, tmp_path: Path
) -> None:
    done, folder = run(commands, tmp_path)
    assert done.returncode == 0, done.stderr
    page = (folder / "report.html").read_text()
    assert page.count("data:image/webp") == len(list((folder / "pictures").glob("*.png"))) - 1  # the matrix is drawn
    assert "confusion matrix after epoch 2" in page
    names = {json.loads(line)["name"] for line in (folder / "exhibits.jsonl").read_text().splitlines()}
    assert {"val/predictions", "val/per_class", "val/calibration", "model/summary", "train/inputs"} <= names
    (folder / "report.html").unlink()
    (folder / "report.html").mkdir()
    again, _ = run(commands, tmp_path, f"checkpoint.resume={folder}", "epochs=3")
    assert again.returncode == 0, again.stderr
    assert "report.html: Is a directory" in again.stderr
    assert json.loads((folder / "record.json").read_text())["status"] == "finished"


def test_a_run_that_fails_leaves_a_report_with_the_reason(commands: Forks, tmp_path: Path) -> None:
    done, folder = run(commands, tmp_path, "optimizer=sgd", "optimizer.lr=1e20", "schedule=constant", "log_every=1")
    assert done.returncode == 1
    page = (folder / "report.html").read_text()
    assert '<span class="pill failed">failed</span>' in page
    assert "Why it ended:" in page
    assert "lower optimizer.lr" in page
