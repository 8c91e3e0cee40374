"""The formats: how each is written, and how it is read back and run, for the check."""

import io
import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from expkit.checkpoints.foreign_weights import export_weights, import_weights
from expkit.checkpoints.writer import CheckpointNotWritten
from expkit.core.errors import ConfigError
from expkit.core.files import write_bytes, write_json
from expkit.inference import Trained
from expkit.inference.export.pipeline import Preprocess, Whole, example

Word = Literal["onnx", "torch_export", "safetensors", "state_dict"]
Run = Callable[[Tensor], Tensor]
Metadata = Mapping[str, Any]

NAME = "expkit"  # under which the metadata stands


class Format(NamedTuple):
    """suffix: of its files; graph: whether it holds the computation, and not the weights alone.

    write: (model, an input, metadata, path); read: path -> what runs it.
    """

    suffix: str
    graph: bool
    write: Callable[[Whole, Tensor, Metadata, Path], None]
    read: Callable[[Path, Trained], Run]


def check_installed(word: Word) -> None:
    """Raise ConfigError where the packages of a format are missing."""
    if word != "onnx":
        return
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ConfigError(f"--to onnx: needs the package {error.name}; install expkit[export]") from error


def _dynamic(images: Tensor, free_size: bool) -> Any:
    dynamic = torch.export.Dim.DYNAMIC
    return ({0: dynamic, 2: dynamic, 3: dynamic} if free_size else {0: dynamic},)


def _exported(model: Whole, images: Tensor) -> torch.export.ExportedProgram:
    with _quiet(), torch.no_grad():
        return torch.export.export(model, (images,), dynamic_shapes=_dynamic(images, _is_free_size(model)))


def _is_free_size(model: Whole) -> bool:
    return any(type(step).__name__ in ("_Resize", "_CenterCrop") for step in model.before)


def _write_onnx(model: Whole, images: Tensor, metadata: Metadata, path: Path) -> None:
    program = _exported(model, images)
    axes = {0: "batch"} | ({2: "height", 3: "width"} if _is_free_size(model) else {})
    with _quiet():
        converted = torch.onnx.export(
            program, dynamo=True, input_names=["images"], output_names=["logits"], dynamic_shapes=(axes,), verbose=False
        )
        assert converted is not None
        converted.model.metadata_props[NAME] = json.dumps(metadata, ensure_ascii=False)
        converted.model.metadata_props["classes"] = json.dumps(metadata["classes"], ensure_ascii=False)
        converted.save(path)


def _read_onnx(path: Path, trained: Trained) -> Run:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    if NAME not in session.get_modelmeta().custom_metadata_map:
        raise ConfigError(f"{path}: was written without its metadata")
    return lambda images: torch.from_numpy(session.run(["logits"], {"images": images.numpy()})[0])


def _write_program(model: Whole, images: Tensor, metadata: Metadata, path: Path) -> None:
    content = io.BytesIO()  # torch's own writer answers a full disk with errors that say nothing of it
    with _quiet():
        program, extra = _exported(model, images), {NAME: json.dumps(metadata, ensure_ascii=False)}
        torch.export.save(program, content, extra_files=extra)
    write_bytes(path, content.getbuffer())


def _read_program(path: Path, trained: Trained) -> Run:
    with _quiet():
        run = torch.export.load(path).module()
    return lambda images: run(images)


def _write_safetensors(model: Whole, images: Tensor, metadata: Metadata, path: Path) -> None:
    import safetensors.torch

    tensors = {name: value.detach().contiguous() for name, value in model.model.state_dict().items()}
    text = {NAME: json.dumps(metadata, ensure_ascii=False), "format": "pt"}
    content = safetensors.torch.save(tensors, metadata=text)
    write_bytes(path, content)


def _write_state_dict(model: Whole, images: Tensor, metadata: Metadata, path: Path) -> None:
    export_weights(model.model.state_dict(), path)
    write_json(path.with_suffix(".json"), metadata)


def _read_weights(path: Path, trained: Trained) -> Run:
    model = trained.fresh_model()
    model.load_state_dict(import_weights(path))
    return lambda images: model.eval()(images)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporters' own deprecations from the user, who can do nothing about them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


FORMATS: dict[Word, Format] = {
    "onnx": Format(".onnx", True, _write_onnx, _read_onnx),
    "torch_export": Format(".pt2", True, _write_program, _read_program),
    "safetensors": Format(".safetensors", False, _write_safetensors, _read_weights),
    "state_dict": Format(".pt", False, _write_state_dict, _read_weights),
}


def write(word: Word, trained: Trained, preprocess: Preprocess, metadata: Metadata, path: Path) -> None:
    """Write a model. Raises ConfigError where the format cannot hold it or the file cannot be written."""
    model = Whole(trained, preprocess).eval()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        FORMATS[word].write(model, example(trained, preprocess), metadata, path)
    except ConfigError:
        raise
    except CheckpointNotWritten as error:
        raise ConfigError(f"--output: {error}") from error
    except OSError as error:
        raise ConfigError(f"--output: cannot write '{path}': {error.strerror}; give another file") from error
    except Exception as error:  # exporters fail in whatever way the operation that they lack does
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        name = trained.config["model"]["name"]
        raise ConfigError(f"--to {word}: {name} cannot be exported: {reason}; try another format") from error
