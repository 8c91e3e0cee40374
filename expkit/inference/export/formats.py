"""The export formats: write each, and read it back for the check."""

import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple
from warnings import catch_warnings

import torch
from torch import Tensor

from expkit.checkpoints.foreign_weights import export_weights, import_weights
from expkit.checkpoints.writer import CheckpointNotWritten
from expkit.core.errors import ConfigError, first_line
from expkit.core.files import write_bytes, write_json
from expkit.inference import Trained
from expkit.inference.export.pipeline import Pipeline, Preprocess, example
from expkit.models.pretrained import build_untrained

FormatName = Literal["onnx", "torch_export", "safetensors", "state_dict"]
Run = Callable[[Tensor], Tensor]
Metadata = Mapping[str, Any]

KEY = "expkit"  # of the metadata in the file


class Format(NamedTuple):
    """graph: whether the file holds the computation, not only the weights; read: returns what runs the file."""

    suffix: str
    graph: bool
    write: Callable[[Pipeline, Tensor, Metadata, Path], None]
    read: Callable[[Path, Trained], Run]


def check_installed(name: FormatName) -> None:
    """Raise ConfigError where the packages of a format are missing."""
    if name != "onnx":
        return
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ConfigError(f"--to onnx: needs the package {error.name}; install expkit[export]") from error


def _has_free_size(model: Pipeline) -> bool:
    return any(type(step).__name__ in ("_Resize", "_CenterCrop") for step in model.before)


def _exported(model: Pipeline, images: Tensor) -> torch.export.ExportedProgram:
    dimensions = (0, 2, 3) if _has_free_size(model) else (0,)
    with torch.no_grad():
        return torch.export.export(
            model, (images,), dynamic_shapes=(dict.fromkeys(dimensions, torch.export.Dim.DYNAMIC),)
        )


def _write_onnx(model: Pipeline, images: Tensor, metadata: Metadata, path: Path) -> None:
    program = _exported(model, images)
    axes = {0: "batch"} | ({2: "height", 3: "width"} if _has_free_size(model) else {})
    converted = torch.onnx.export(
        program, dynamo=True, input_names=["images"], output_names=[model.output_name], dynamic_shapes=(axes,),
        verbose=False,
    )  # fmt: skip
    assert converted is not None
    converted.model.metadata_props[KEY] = json.dumps(metadata, ensure_ascii=False)
    if "classes" in metadata:
        converted.model.metadata_props["classes"] = json.dumps(metadata["classes"], ensure_ascii=False)
    converted.save(path)


def _read_onnx(path: Path, trained: Trained) -> Run:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    if KEY not in session.get_modelmeta().custom_metadata_map:
        raise ConfigError(f"{path}: was written without its metadata")
    return lambda images: torch.from_numpy(session.run([trained.task.output_name], {"images": images.numpy()})[0])


def _write_program(model: Pipeline, images: Tensor, metadata: Metadata, path: Path) -> None:
    content = io.BytesIO()  # torch's own writer reports a full disk with unspecific errors
    text = json.dumps(metadata, ensure_ascii=False)
    torch.export.save(_exported(model, images), content, extra_files={KEY: text})
    write_bytes(path, content.getbuffer())


def _read_program(path: Path, trained: Trained) -> Run:
    with catch_warnings(action="ignore"):
        run = torch.export.load(path).module()
    return lambda images: run(images)


def _write_safetensors(model: Pipeline, images: Tensor, metadata: Metadata, path: Path) -> None:
    import safetensors.torch

    tensors = {name: value.detach().contiguous() for name, value in model.model.state_dict().items()}
    text = {KEY: json.dumps(metadata, ensure_ascii=False), "format": "pt"}
    write_bytes(path, safetensors.torch.save(tensors, metadata=text))


def _write_state_dict(model: Pipeline, images: Tensor, metadata: Metadata, path: Path) -> None:
    export_weights(model.model.state_dict(), path)
    write_json(path.with_suffix(".json"), metadata)


def _read_weights(path: Path, trained: Trained) -> Run:
    model = build_untrained(trained.config["model"], trained.task.num_outputs)
    model.load_state_dict(import_weights(path))
    return lambda images: model.eval()(images)


FORMATS: dict[FormatName, Format] = {
    "onnx": Format(".onnx", True, _write_onnx, _read_onnx),
    "torch_export": Format(".pt2", True, _write_program, _read_program),
    "safetensors": Format(".safetensors", False, _write_safetensors, _read_weights),
    "state_dict": Format(".pt", False, _write_state_dict, _read_weights),
}


def write(name: FormatName, trained: Trained, preprocess: Preprocess, metadata: Metadata, path: Path) -> None:
    """Write a model. Raises ConfigError if the format cannot hold it or the file cannot be written."""
    model = Pipeline(trained, preprocess).eval()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with catch_warnings(action="ignore"):  # the exporters' own deprecations, which the user cannot act on
            FORMATS[name].write(model, example(trained, preprocess), metadata, path)
    except ConfigError:
        raise
    except CheckpointNotWritten as error:
        raise ConfigError(f"--output: {error}") from error
    except OSError as error:
        raise ConfigError(f"--output: cannot write '{path}': {error.strerror}; give another file") from error
    except Exception as error:  # exporters may raise anything for an unsupported operation
        problem = f"{trained.config['model']['name']} cannot be exported: {first_line(error)}"
        raise ConfigError(f"--to {name}: {problem}; try another format") from error
