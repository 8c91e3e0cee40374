"""What the commands beside expkit.run say to type: each row makes the mistake, and then types what is said."""

import io
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

import expkit
from expkit.cli.compare import main as compare
from expkit.cli.evaluate import main as evaluate
from expkit.cli.export import main as export
from expkit.cli.new import main as new
from expkit.cli.predict import main as predict
from expkit.cli.report import main as report
from expkit.config.redaction.redactor import ELSEWHERE
from expkit.core.errors import ConfigError
from expkit.inference.evaluate.dataset import dataset_node
from expkit.inference.export.formats import FORMATS, Format

MAINS: dict[str, Callable[[list[str]], object]] = {
    "predict": predict, "evaluate": evaluate, "export": export, "compare": compare, "report": report, "new": new,
}  # fmt: skip
# What is typed (R: a run's folder, C: a checkpoint of it, F: a run of files), what is said, and what is typed then.
ROWS = [
    ("predict R -", "name files, folders or patterns", "predict R pictures"),
    ("predict gone pictures", "give a run folder or a .safetensors checkpoint", "predict R pictures"),
    ("predict empty pictures", "give a run folder or a .safetensors file", "predict C pictures"),
    ("predict damaged.safetensors pictures", "give another checkpoint", "predict C pictures"),
    ("predict R empty", "give the images' folder", "predict R pictures"),
    ("predict R pictures --top 0", "--top: expected an integer from 1 up", "predict R pictures --top 1"),
    ("predict R pictures --workers -1", "--workers: expected an integer from 0", "predict R pictures --workers 0"),
    ("predict R pictures --threshold 2", "a probability from 0 to 1", "predict R pictures --threshold 1"),
    ("predict R pictures --sheet-images 0", "--sheet-images: expected", "predict R pictures --sheet-images 1"),
    ("predict R pictures --output picture.png/x.csv", "--output: cannot write", "predict R pictures --output x.csv"),
    ("predict R pictures --sort-into picture.png/x", "give another folder", "predict R pictures --sort-into sorted"),
    ("predict R pictures --sheet x.text", "give a .png or .jpg file", "predict R pictures --sheet x.png"),
    ("evaluate dataset=shapes", "name run folders, checkpoints, or a folder of runs", "evaluate C"),
    ("evaluate empty", "give run folders, or a folder of them", "evaluate R"),
    ("evaluate R --top-k 0", "--top-k: expected an integer from 1 up", "evaluate R --top-k 1"),
    ("evaluate R epochs=3", "dataset=CHOICE, dataset.KEY=VALUE", "evaluate R dataset.max_bad=3"),
    ("evaluate R --split test", "use --split val or train", "evaluate R --split train"),
    ("evaluate F --split test", "set dataset.val_root to their folder and use --split val",
     "evaluate F --split val dataset.val_root=files"),
    ("export R --to safetensors --preprocess full", "use --to onnx or torch_export",
     "export R --to torch_export --preprocess full"),
    ("export F --to torch_export --preprocess full", "use --preprocess normalize",
     "export F --to torch_export --preprocess normalize"),
    ("export R --to state_dict --output m.onnx", "a file of state_dict ends in .pt",
     "export R --to state_dict --output m.pt"),
    ("export R --to state_dict --output picture.png/m.pt", "give another file",
     "export R --to state_dict --output m.pt"),
    ("export R --to state_dict --images broken.png", "can be read; give others",
     "export R --to state_dict --images picture.png"),
    ("export moved --to state_dict", "name some images", "export moved --to state_dict --images picture.png"),
    ("export R --to torch_export", "try another format", "export R --to safetensors"),
    ("compare empty", "give run folders, or a folder that holds some", "compare R"),
    ("compare R --sort best/los", "did you mean 'best val/loss'?", "compare R --sort 'best val/loss'"),
    ("compare R --filter los>0", "best val/loss, last val/accuracy", "compare R --filter loss>0"),
    ("compare R --html picture.png/x.html", "give another place", "compare R --html x.html"),
    ("compare R --csv picture.png/x.csv", "give another place", "compare R --csv x.csv"),
    ("report empty", "give one such as outputs/NAME_DATE_TIME", "report R"),
    ("new My-Project", "e.g. my_project", "new my_project"),
    ("new class", "take another name", "new a_class"),
    ("new numpy", "take another name", "new my_numpy"),
    ("new pictures", "give another name", "new my_pictures"),
    ("new picture.png/mine", "give another folder", "new mine"),
]  # fmt: skip


@pytest.fixture(scope="module")
def of_files(tmp_path_factory: pytest.TempPathFactory) -> expkit.Run:
    """A run on image folders, whose evaluation turns images grey."""
    folder = tmp_path_factory.mktemp("of_files")
    for number in range(12):
        place = folder / f"files/{'ab'[number % 2]}/{number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((32, 32), 60 + number).convert("RGB").save(place)
    grey = "[{name:Resize,size:[32,32]},{name:Grayscale,num_output_channels:3}]"
    words = [
        "dataset=image_folder",
        f"dataset.root={folder}/files",
        "dataset.num_workers=0",
        "epochs=1",
        "batch_size=4",
    ]
    more = ["logger=none", "model.width=4", f"output_dir={folder}/outputs", "transforms.image_size=32"]
    return expkit.train([*words, *more, f"transforms.eval={grey}"])


@pytest.fixture
def places(
    small_run: expkit.Run, of_files: expkit.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    Path("empty").mkdir()
    Path("pictures").mkdir()
    for path in ("picture.png", "pictures/1.png"):
        Image.new("RGB", (40, 36), (200, 30, 30)).save(path)
    Path("broken.png").write_bytes(b"no picture")
    Path("damaged.safetensors").write_bytes(b"no weights")
    shutil.copytree(of_files.folder, "moved")
    shutil.copytree(of_files.folder.parents[1] / "files", "files")
    checkpoint = next((small_run.folder / "checkpoints").glob("*.safetensors"))
    return {"R": str(small_run.folder), "C": str(checkpoint), "F": str(of_files.folder)}


def run(line: str, places: dict[str, str]) -> int:
    words = [places.get(word, word) for word in shlex.split(line)]
    try:
        MAINS[words[0]](words[1:])
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@pytest.mark.parametrize(("line", "said", "then"), ROWS)
def test_the_command_works_then(
    line: str, said: str, then: str, places: dict[str, str], of_files: expkit.Run, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def fails(*given: object) -> None:
        raise RuntimeError("no such operation")

    if "moved" in line:  # the data lie elsewhere by now
        monkeypatch.setattr(
            "expkit.inference.export.export.load", lambda node: (_ for _ in ()).throw(ConfigError("gone"))
        )
    if said == "try another format":
        monkeypatch.setitem(FORMATS, "torch_export", Format(".pt2", True, fails, fails))  # type: ignore[arg-type]
    assert run(line, places) == 2
    message = capsys.readouterr().err
    assert said in message
    for option in re.findall(r"--[\w-]+", then):
        assert option in message or option in line, f"{option} is not told: {message}"
    code = run(then, places)
    captured = capsys.readouterr()
    assert code == 0, captured.out + captured.err


def test_more_rows_than_a_table_shows_are_in_another_format(
    places: dict[str, str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("expkit.inference.predict.writers.MOST_ROWS", 1)
    Image.new("RGB", (40, 36)).save("pictures/2.png")
    assert run("predict R pictures --workers 0", places) == 0
    assert "and 1 more; --format csv or jsonl lists all" in capsys.readouterr().out
    for word in ("csv", "jsonl"):
        assert run(f"predict R pictures --workers 0 --format {word}", places) == 0
        assert "2.png" in capsys.readouterr().out


def test_data_that_lay_elsewhere_are_given() -> None:
    own = {"name": "image_folder", "root": f"{ELSEWHERE}/pets"}
    with pytest.raises(ConfigError, match=r"give dataset\.root=PATH"):
        dataset_node(own, [])
    assert dataset_node(own, ["dataset.root=pets"])["root"] == "pets"
