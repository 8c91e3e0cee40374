"""python -m expkit export with models of numbers, masks and images: read back by other programs, and equal."""

import json
from pathlib import Path

import pytest
import torch

import expkit
from expkit.cli.export import main
from expkit.inference import load_trained
from expkit.inference.export.verify import difference

Runs = dict[str, expkit.Run]
OUTPUTS = {"regression": "numbers", "segmentation": "logits", "reconstruction": "pixels"}


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([*map(str, words)])
    return int(ended.value.code or 0)


@pytest.fixture(params=OUTPUTS)
def task(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    return str(request.param)


def images_of(run: expkit.Run) -> list[Path]:
    return sorted((run.folder.parents[1] / "shapes").rglob("folders/val/*/*.jpg"))[:3]


def test_onnx(task_runs: Runs, task: str, capsys: pytest.CaptureFixture[str]) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    assert run(task_runs[task].folder, "--to", "onnx", "--preprocess", "normalize", "--output", "m.onnx") == 0
    printed = capsys.readouterr().out
    assert f"equal    max difference over 10 images: {OUTPUTS[task]} " in printed
    assert ("same class of pixels" in printed) == (task == "segmentation")
    session = onnxruntime.InferenceSession("m.onnx")
    assert [output.name for output in session.get_outputs()] == [OUTPUTS[task]]
    given = session.get_modelmeta().custom_metadata_map
    assert ("classes" in given) == (task == "segmentation")
    trained = load_trained(task_runs[task].folder, device="cpu")
    seen = torch.stack([trained.seen(path) for path in images_of(task_runs[task])])
    (outputs,) = session.run(None, {"images": seen.contiguous().numpy()})
    assert torch.allclose(torch.from_numpy(outputs), trained.outputs(seen), atol=1e-4)
    told = json.loads(given["expkit"])
    assert told["task"] == task
    assert told["output"].startswith(OUTPUTS[task])
    if task == "regression":
        mean, std = (torch.tensor(told["statistics"][name]) for name in ("mean", "std"))
        numbers = dict(zip(told["numbers"], (torch.from_numpy(outputs[0]) * std + mean).tolist(), strict=True))
        assert numbers == pytest.approx(trained.predict(images_of(task_runs[task])[0])[0], abs=1e-4)


def test_torch_export(task_runs: Runs, task: str) -> None:
    words = ["--to", "torch_export", "--preprocess", "full", "--output", "m.pt2", "--tolerance", "0.05"]
    assert run(task_runs[task].folder, *words) == 0
    more = {"expkit": ""}
    program = torch.export.load("m.pt2", extra_files=more)
    trained = load_trained(task_runs[task].folder, device="cpu")
    image = trained.seen(images_of(task_runs[task])[0])[None].contiguous()
    assert torch.allclose(program.module()(image), trained.outputs(image), atol=1e-3)
    assert json.loads(more["expkit"])["task"] == task


def test_weights(task_runs: Runs, task: str) -> None:
    assert run(task_runs[task].folder, "--to", "safetensors", "--output", "m.safetensors") == 0
    assert run(task_runs[task].folder, "--to", "state_dict", "--output", "m.pt") == 0
    assert json.loads(Path("m.json").read_text())["task"] == task


def test_a_file_that_differs_is_told_of(task_runs: Runs, task: str) -> None:
    trained = task_runs[task].load(device="cpu")
    outputs = trained.outputs(torch.stack([trained.seen(path) for path in images_of(task_runs[task])]))
    assert difference(trained.task, outputs, outputs).largest == 0
    changed = outputs.clone()
    changed[0, 0] += 1
    found = difference(trained.task, outputs, changed)
    assert found.largest > 0.01
    assert OUTPUTS[task] in found.told(1e-4)
