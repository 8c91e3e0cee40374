"""Files that execute something when they are unpickled: each makes a canary file, and none does anything else."""

import bdb
import code
import codecs
import cProfile
import functools
import gzip
import importlib
import io
import itertools
import logging
import marshal
import operator
import os
import pathlib
import pickle
import profile
import runpy
import shutil
import struct
import subprocess
import tarfile
import timeit
import trace
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.utils.collect_env
from torch import nn


class Call:
    """Pickles as a call of a function; arguments, and the function too, may be calls themselves."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.function, self.arguments

    def __call__(self) -> None:
        """Pickle takes nothing for a function that cannot be called."""


class Built(Call):
    """Pickles as a harmless object whose state is the call."""

    def __reduce__(self) -> tuple[Any, ...]:
        return OrderedDict, (), Call(self.function, *self.arguments)


class Listed(Call):
    """Pickles as a list whose items come from the call."""

    def __reduce__(self) -> tuple[Any, ...]:
        return list, (), None, iter([Call(self.function, *self.arguments)])


def source(canary: str) -> str:
    return f"__import__('pathlib').Path({canary!r}).touch()"


def shell(canary: str) -> str:
    return f"touch '{canary}'"


def calls(canary: str) -> dict[str, Any]:
    """Return objects by name; to unpickle one is to run it."""
    python, command, path = source(canary), shell(canary), pathlib.PurePosixPath(canary)
    compiled, os_module = Call(compile, python, "x", "exec"), Call(importlib.import_module, "os")
    return {
        "os.system": Call(os.system, command),
        "os.open": Call(os.open, canary, os.O_CREAT | os.O_WRONLY),
        "os.mkdir": Call(os.mkdir, canary),
        "os.symlink": Call(os.symlink, "/", canary),
        "subprocess.call": Call(subprocess.call, ["touch", canary]),
        "subprocess.check_output": Call(subprocess.check_output, ["touch", canary]),
        "subprocess.getoutput": Call(subprocess.getoutput, command),
        "builtins.eval": Call(eval, python),
        "builtins.exec": Call(exec, python),
        "builtins.exec of a compiled text": Call(exec, compiled),
        "builtins.open": Call(open, canary, "w"),
        "builtins.getattr chain": Call(Call(getattr, os_module, "system"), command),
        "builtins.__import__ chain": Call(Call(getattr, Call(__import__, "os"), "system"), command),
        "builtins.map, drawn by list": Call(list, Call(map, eval, [python])),
        "builtins.max with a key": Call(functools.partial(max, [python, python], key=eval)),
        "io.open": Call(io.open, canary, "w"),
        "io.FileIO": Call(io.FileIO, canary, "w"),
        "io.TextIOWrapper": Call(io.TextIOWrapper, Call(io.FileIO, canary, "w")),
        "codecs.decode, then exec": Call(exec, Call(codecs.decode, codecs.encode(python, "rot13"), "rot13")),
        "gzip.open": Call(gzip.open, canary, "w"),
        "zipfile.ZipFile": Call(zipfile.ZipFile, canary, "w"),
        "pathlib.Path.touch": Call(pathlib.Path.touch, Call(pathlib.Path, canary)),
        "pathlib.Path.write_text": Call(pathlib.Path.write_text, Call(pathlib.Path, canary), "x"),
        "shutil.copy": Call(shutil.copy, __file__, str(path)),
        "operator.methodcaller": Call(operator.methodcaller("system", command), os_module),
        "operator.attrgetter": Call(Call(operator.attrgetter("system"), os_module), command),
        "operator.call of a partial": Call(operator.call, functools.partial(os.system, command)),
        "functools.partial": Call(functools.partial(exec, python)),
        "functools.reduce": Call(Call(functools.reduce, getattr, ["touch"], Call(pathlib.Path, canary))),
        "itertools.starmap": Call(list, Call(itertools.starmap, eval, [(python,)])),
        "types.FunctionType": Call(
            Call(Call(getattr, Call(importlib.import_module, "types"), "FunctionType"), compiled, {})
        ),
        "marshal.loads": Call(exec, Call(marshal.loads, marshal.dumps(compile(python, "x", "exec")))),
        "runpy": Call(runpy._run_code, compiled, {}),  # type: ignore[attr-defined]
        "code.InteractiveInterpreter": Call(
            operator.methodcaller("runsource", python), Call(code.InteractiveInterpreter)
        ),
        "timeit.timeit": Call(timeit.timeit, "0", python, timeit.default_timer, 1),
        "bdb.Bdb.run": Call(operator.methodcaller("run", python), Call(bdb.Bdb)),
        "cProfile.Profile.run": Call(operator.methodcaller("run", python), Call(cProfile.Profile)),
        "profile.Profile.runctx": Call(operator.methodcaller("runctx", python, {}, {}), Call(profile.Profile)),
        "trace.Trace.run": Call(operator.methodcaller("run", python), Call(trace.Trace, 0, 0)),
        "logging.FileHandler": Call(logging.FileHandler, canary),
        "pickle.loads of another": Call(pickle.loads, pickle.dumps(Call(os.system, command))),
        "as a state": Built(os.system, command),
        "as a list's item": Listed(os.system, command),
        "as a dict's key": {Call(os.system, command): 1},
        "deep inside": {"model": [OrderedDict(a=(torch.zeros(1), {"b": Call(os.system, command)}))]},
        "beside honest tensors": {"a.weight": torch.zeros(2), "b.weight": Call(os.system, command)},
        **torch_calls(canary),
        **numpy_calls(canary),
    }


def torch_calls(canary: str) -> dict[str, Any]:
    """Return calls that hide behind torch's own functions."""
    evil = Call(os.system, shell(canary))
    inner = io.BytesIO()
    torch.save(evil, inner)
    module = nn.Linear(1, 1)
    module.register_buffer("x", torch.zeros(1))
    module.__dict__["extra"] = evil
    parts = (torch.float32, torch.Size([1]), torch.strided)
    return {
        "torch.load of another": Call(
            functools.partial(torch.load, weights_only=False), Call(io.BytesIO, inner.getvalue())
        ),
        "torch.storage._load_from_bytes": Call(torch.storage._load_from_bytes, inner.getvalue()),
        "torch.save": Call(torch.save, {}, canary),
        "torch.from_file": Call(functools.partial(torch.from_file, canary, shared=True, size=1)),
        "torch.UntypedStorage.from_file": Call(torch.UntypedStorage.from_file, canary, True, 4),
        "torch.utils.collect_env.run": Call(torch.utils.collect_env.run, shell(canary)),
        "torch.nn.Module with a state": module,
        "torch._utils._rebuild_tensor_v2": Call(torch._utils._rebuild_tensor_v2, evil, 0, (1,), (1,), False, {}),
        "torch._utils._rebuild_parameter": Call(torch._utils._rebuild_parameter, evil, True, {}),
        "torch._utils._rebuild_device_tensor_from_numpy": Call(
            torch._utils._rebuild_device_tensor_from_numpy, evil, torch.float32, "cpu", False
        ),
        "torch._utils._rebuild_wrapper_subclass": Call(torch._utils._rebuild_wrapper_subclass, evil, *parts),
        "torch._tensor._rebuild_from_type_v2": Call(
            torch._tensor._rebuild_from_type_v2, os.system, torch.Tensor, (shell(canary),), {}
        ),
        "torch._utils._rebuild_sparse_tensor": Call(torch._utils._rebuild_sparse_tensor, torch.sparse_coo, evil),
        "torch.Size": Call(torch.Size, [evil]),
        "torch.device": Call(torch.device, evil),
    }


def numpy_calls(canary: str) -> dict[str, Any]:
    """Return calls that hide in numpy's arrays."""
    evil = Call(os.system, shell(canary))
    return {
        "numpy array of objects": np.array([evil], dtype=object),
        "numpy scalar of an object": Call(np._core.multiarray.scalar, np.dtype(object), evil),
        "numpy._reconstruct": Call(np._core.multiarray._reconstruct, np.ndarray, (evil,), b"b"),
        "numpy.memmap": Call(np.memmap, canary, "uint8", "w+", 0, (1,)),
        "numpy.save": Call(np.save, canary, 0),
        "numpy.apply_along_axis": Call(np.apply_along_axis, functools.partial(_touch, canary), 0, np.zeros(1)),
    }


def _touch(canary: str, *_: Any) -> int:
    pathlib.Path(canary).touch()
    return 0


def opcodes(canary: str) -> dict[str, bytes]:
    """Return pickles that no pickler writes, by name."""
    command = shell(canary).encode()
    text = b"X" + struct.pack("<I", len(command)) + command
    quoted, path = f"V{shell(canary)}\n".encode(), f"V{canary}\n".encode()
    return {
        "GLOBAL in text": b"cos\nsystem\n(" + quoted + b"tR.",
        "GLOBAL posix": b"cposix\nsystem\n(" + quoted + b"tR.",
        "GLOBAL of Python 2": b"\x80\x02c__builtin__\neval\n(V" + source(canary).encode() + b"\ntR.",
        "GLOBAL commands of Python 2": b"\x80\x02ccommands\ngetoutput\n(" + quoted + b"tR.",
        "INST": b"(" + quoted + b"ios\nsystem\n.",
        "OBJ": b"(cos\nsystem\n" + quoted + b"o.",
        "STACK_GLOBAL": b"\x80\x04\x8c\x02os\x8c\x06system\x93(" + text + b"tR.",
        "STACK_GLOBAL with a path": b"\x80\x04\x8c\x07pathlib\x8c\x0aPath.touch\x93(cpathlib\nPath\n("
        + path + b"tRtR.",
        "memo: the function is fetched": b"cos\nsystem\nq\x000h\x00(" + quoted + b"tR.",
        "memo: a name is overwritten": b"\x80\x04\x8c\x05torch\x94\x8c\x02os\x94\x8c\x06system\x94000h\x01h\x02\x93("
        + text + b"tR.",
        "memo: put twice": b"ccollections\nOrderedDict\np7\n0cos\nsystem\np7\n0g7\n(" + quoted + b"tR.",
        "memo: long indexes": b"cos\nsystem\nr\xff\x00\x00\x000j\xff\x00\x00\x00(" + quoted + b"tR.",
        "after an honest one that is popped": b"}0cos\nsystem\n(" + quoted + b"tR.",
        "result thrown away": b"cos\nsystem\n(" + quoted + b"tR0}.",
        "twice the same, by DUP": b"cos\nsystem\n2(" + quoted + b"tR.",
        "marked and dropped": b"(cos\nsystem\n(" + quoted + b"tR1}.",
        "in a frame": b"\x80\x04\x95" + struct.pack("<Q", len(text) + 17)
        + b"\x8c\x02os\x8c\x06system\x93(" + text + b"tR.",
        "as a persistent id": b"(cos\nsystem\n(" + quoted + b"tRtQ.",
        "NEWOBJ_EX of a memmap": b"\x80\x04cnumpy\nmemmap\n(" + path + b"Vuint8\nVw+\nt}Vshape\nK\x01s\x92.",
        "NEWOBJ of a Path, then a call": b"\x80\x04cpathlib\nPath\n(" + path + b"t\x810cos\nsystem\n("
        + quoted + b"tR.",
    }  # fmt: skip


def torch_files(canary: str) -> dict[str, bytes]:
    """Return files in torch's formats, by name."""
    evil = Call(os.system, shell(canary))
    raw, none = pickle.dumps(evil, protocol=2), pickle.dumps(0) + pickle.dumps([])
    honest = io.BytesIO()
    torch.save({"w": torch.zeros(2)}, honest)
    return {
        "zip": _saved(evil, zipped=True),
        "legacy": _saved(evil, zipped=False),
        "legacy: in the system info": _legacy(evil, {}, []),
        "legacy: in the list of storages": _legacy({}, {}, evil),
        "legacy: after an honest object": _legacy({}, evil, []),
        "tar: in storages": _tar(storages=raw),
        "tar: in tensors": _tar(storages=none, tensors=raw),
        "tar: in pickle": _tar(storages=none, tensors=pickle.dumps(0), pickle=raw),
        "zip: by hand": _zip(("archive/data.pkl", raw), ("archive/version", b"3\n")),
        "zip: compressed": _zip(("a/data.pkl", raw), ("a/version", b"3\n"), method=zipfile.ZIP_DEFLATED),
        "zip: an odd folder": _zip(("a b%2e/data.pkl", raw), ("a b%2e/version", b"3\n")),
        "zip: data.pkl a second time": _zip(("a/data.pkl", raw), ("a/version", b"3\n"), ("a/data.pkl", raw)),
        "zip: with a byte order": _zip(("a/data.pkl", raw), ("a/byteorder", b"little"), ("a/version", b"3\n")),
        "zip: before an honest one": raw + honest.getvalue(),
        "pickle: before an honest one": raw + pickle.dumps({"w": 1}),
    }


def _saved(value: Any, zipped: bool) -> bytes:
    file = io.BytesIO()
    torch.save(value, file, _use_new_zipfile_serialization=zipped)
    return file.getvalue()


def _legacy(info: Any, value: Any, storages: Any) -> bytes:
    magic, version = torch.serialization.MAGIC_NUMBER, torch.serialization.PROTOCOL_VERSION
    return b"".join(pickle.dumps(part, protocol=2) for part in (magic, version, info, value, storages))


def _tar(**members: bytes) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:", format=tarfile.PAX_FORMAT) as archive:
        for name, data in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return file.getvalue()


def _zip(*members: tuple[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a name that is there twice
        for name, data in members:
            archive.writestr(name, data)
    return file.getvalue()


def malicious(canary: str) -> dict[str, Callable[[], bytes]]:
    """Return every file by name, as a function that makes its bytes."""
    made: dict[str, Callable[[], bytes]] = {}
    for protocol, (name, value) in zip(itertools.cycle((2, 4, 5)), calls(canary).items()):
        made[f"{name}, protocol {protocol}"] = functools.partial(pickle.dumps, value, protocol)
        made[f"{name}, zip"] = functools.partial(_saved, value, True)
    for name, data in {**opcodes(canary), **torch_files(canary)}.items():
        made[name] = functools.partial(bytes, data)
    return made
