"""Our safetensors bytes against the library's own."""

import hashlib
import io

import pytest
import safetensors.torch
import torch

from expkit.checkpoints import safetensors_buffer
from expkit.checkpoints.safetensors_buffer import CODES, Packed, is_finite


def written(packed: Packed) -> bytes:
    file = io.BytesIO()
    digest = packed.write(file)
    assert digest == hashlib.sha256(file.getvalue()).hexdigest()
    return file.getvalue()


def of_every_type() -> dict[str, torch.Tensor]:
    tensors = {str(dtype): torch.arange(6).reshape(2, 3).to(dtype) for dtype in CODES}
    return {**tensors, "empty": torch.empty(0, 4), "scalar": torch.tensor(3.5), "odd": torch.ones(3, dtype=torch.uint8)}


def test_the_bytes_are_those_of_the_library() -> None:
    packed = Packed()
    packed.pack(of_every_type())
    assert written(packed) == safetensors.torch.save(of_every_type())


def test_every_type_of_the_library_can_be_written() -> None:
    library = {dtype for dtype in safetensors.torch._TYPES.values() if dtype is not None}
    assert library - set(CODES) <= {torch.float8_e4m3fnuz, torch.float8_e5m2fnuz}


def test_any_layout_is_written_as_its_values() -> None:
    base = torch.arange(120.0).reshape(2, 3, 4, 5)
    tensors = {"last": base.to(memory_format=torch.channels_last), "turned": base.transpose(0, 3), "part": base[:, 1]}
    packed = Packed()
    tensors |= {"conjugate": torch.tensor([1 + 2j]).conj(), "negative": torch.tensor([1 + 2j]).conj().imag}
    packed.pack(tensors | {"wide": torch.ones(1).expand(4), "grad": torch.ones(2, requires_grad=True)})
    read = safetensors.torch.load(written(packed))
    assert all(torch.equal(read[name], value) for name, value in tensors.items())
    assert read["wide"].tolist() == [1.0] * 4


def test_memory_is_used_again_while_the_layout_stays() -> None:
    packed = Packed()
    packed.pack({"a": torch.zeros(5)})
    first = packed.buffer.data_ptr()
    packed.pack({"a": torch.ones(5)})
    assert packed.buffer.data_ptr() == first
    assert safetensors.torch.load(written(packed))["a"].tolist() == [1.0] * 5
    packed.pack({"a": torch.ones(5).double(), "b": torch.zeros(1)})
    assert safetensors.torch.load(written(packed))["a"].dtype == torch.float64


def test_a_file_of_many_slices_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(safetensors_buffer, "_SLICE", 100)
    packed = Packed()
    packed.pack(of_every_type())
    assert written(packed) == safetensors.torch.save(of_every_type())


@pytest.mark.parametrize(
    "tensor", [torch.zeros(2, dtype=torch.complex128), torch.eye(3).to_sparse()], ids=["complex128", "sparse"]
)
def test_what_the_format_has_not_is_refused(tensor: torch.Tensor) -> None:
    with pytest.raises(TypeError, match=r"dense tensors of plain numbers, not torch\..*\(at x\)"):
        Packed().pack({"x": tensor})


@pytest.mark.parametrize("dtype", [dtype for dtype in CODES if dtype.is_floating_point], ids=str)
def test_one_number_that_is_none_is_found_in_any_type(dtype: torch.dtype) -> None:
    good = torch.full((1000,), 100.0).to(dtype)
    bad = good.clone()
    bad[617] = float("nan")
    assert is_finite(good)
    assert not is_finite(bad)


def test_finite_numbers_whose_sum_is_not_are_finite() -> None:
    assert is_finite(torch.full((10,), 3e38))
    assert is_finite(torch.full((10,), 6e4).half())
    assert not is_finite(torch.tensor([1.0, float("inf")]))
    assert not is_finite(torch.tensor([float("-inf"), float("inf")]))
    assert not is_finite(torch.tensor([complex(0, float("nan"))]))
    assert is_finite(torch.empty(0))
    assert is_finite(torch.tensor([2**40]))
