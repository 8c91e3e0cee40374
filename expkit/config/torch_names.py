"""Names that PyTorch's users know and that have no entry of their own here: what takes their place."""

import re
from collections.abc import Collection

from expkit.core.errors import nearest
from expkit.core.escaping import as_override

_TENSORS = "images are uint8 tensors until the batch is normalised, on the device; leave it out"
_SEVERAL = "it makes several images of one; python -m expkit predict RUN IMAGES --views five_crop averages over crops"
_OWN = "register a function of yours, @transforms.register('NAME'), and add --plugin FILE.py"
_SHARED_OUT = "device=multi_gpu shares the samples out by itself; leave it out"

_PLACES = ("FOLDER", "RUN")  # stand for what is typed
_FREE = ("checkpoint.monitor", "output_dir")  # take any text
_OVERRIDES = re.compile(r"(?:(?:^| )(?:'[^']+'|\+?[\w.]+=\S+))+")

_OF_GROUPS: dict[str, dict[str, str]] = {
    "transforms": {
        "totensor": _TENSORS, "piltotensor": _TENSORS, "toimage": _TENSORS, "topuretensor": _TENSORS,
        "todtype": _TENSORS, "convertimagedtype": _TENSORS, "totvtensor": _TENSORS,
        "topilimage": "transforms work on tensors here, none needs a PIL image; leave it out",
        "lambda": _OWN, "compose": "the list itself is the composition: write its transforms into transforms.train",
        "sequential": "the list itself is the sequence: write its transforms into transforms.train",
        "normalize": "the batch is normalised on the device: transforms.normalize.mean=[0.5,0.5,0.5]"
        " transforms.normalize.std=[0.5,0.5,0.5]",
        "scale": "it is called Resize now", "randomsizedcrop": "it is called RandomResizedCrop now",
        "randomflip": "there is RandomHorizontalFlip and RandomVerticalFlip",
        "fivecrop": _SEVERAL, "tencrop": _SEVERAL, "lineartransformation": _OWN, "gaussiannoise": _OWN,
        "mixup": "it mixes a batch: transforms.batch=[{name:mixup}]",
        "cutmix": "it mixes a batch: transforms.batch=[{name:cutmix}]",
    },
    "sampler": {
        "randomsampler": "sampler=shuffle", "random": "sampler=shuffle", "sequentialsampler": "sampler=sequential",
        "weightedrandomsampler": "sampler=weighted 'sampler.class_weights={dog: 2, cat: 1}'",
        "subsetrandomsampler": "sampler=subset", "subset": "sampler=subset",
        "distributedsampler": _SHARED_OUT, "batchsampler": "batch_size=32 says how many samples a batch has",
        "none": "sampler=sequential keeps the order of the data",
        "null": "sampler=sequential keeps the order of the data",
    },
    "device": {
        "cuda": "device=gpu", "rocm": "device=gpu", "0": "device=gpu device.index=0",
        "dataparallel": "device=multi_gpu device.strategy=data_parallel",
        "dp": "device=multi_gpu device.strategy=data_parallel",
        "distributeddataparallel": "device=multi_gpu", "ddp": "device=multi_gpu", "distributed": "device=multi_gpu",
        "fsdp": "device=multi_gpu device.strategy=fsdp", "fullyshardeddataparallel":
        "device=multi_gpu device.strategy=fsdp", "torchrun": "device=multi_gpu starts the processes by itself",
        "xla": "there is none for TPUs; device=auto takes what the machine has",
    },
    "logger": {"summarywriter": "logger=tensorboard", "tensorboardx": "logger=tensorboard", "viz": "logger=visdom"},
    "loss": {
        "nllloss": "loss=cross_entropy takes what the model gives, without a softmax of yours",
        "crossentropyloss": "loss=cross_entropy", "bceloss": "loss=bce takes what the model gives, without a sigmoid",
        "bcewithlogitsloss": "loss=bce",
    },
    "schedule": {
        "steplr": "schedule=step", "cosineannealinglr": "schedule=cosine", "onecyclelr": "schedule=one_cycle",
        "reducelronplateau": "schedule=torch schedule.name=ReduceLROnPlateau", "null": "schedule=constant",
        "none": "schedule=constant",
    },
    "dataset": {
        "imagefolder": "dataset=image_folder dataset.root=FOLDER",
        "datasetfolder": "dataset=image_folder dataset.root=FOLDER",
        "cocodetection": "dataset=coco dataset.root=FOLDER dataset.annotations=FILE",
        "fakedata": "dataset=fake", "dataloader": "dataset.num_workers=auto and"
        " batch_size=32 are options here; the data set has a name of its own",
    },
}  # fmt: skip

_OPTIONS: dict[str, str] = {
    "pinmemory": "memory is pinned by itself where the device is a GPU; leave it out",
    "collatefn": "images of one size are stacked, and dataset.on_bad=skip leaves out those that cannot be read",
    "shuffle": "sampler=shuffle draws a new order each epoch, sampler=sequential keeps that of the data",
    "batchsampler": "batch_size=32 and sampler=shuffle say what a batch is", "batchsize": "batch_size=32",
    "batch": "batch_size=32", "bs": "batch_size=32",
    "workers": "dataset.num_workers=4", "numworkers": "dataset.num_workers=4",
    "droplast": "dataset.drop_last=true", "prefetchfactor": "+dataset.prefetch=2", "timeout": "dataset.timeout=60",
    "persistentworkers": "workers stay from epoch to epoch by themselves; leave it out",
    "workerinitfn": "each sample's random draws are seeded by themselves; leave it out",
    "generator": "seed=0 keys every random draw", "manualseed": "seed=0", "randomseed": "seed=0",
    "multiprocessingcontext": "+dataset.start_method=spawn",
    "numsamples": "sampler=class_balanced sampler.num_samples=1000",
    "replacement": "the sampler called weighted has sampler.replacement",
    "maplocation": "a checkpoint is loaded to where the run is: device=cpu",
    "weightsonly": "a file of weights is never executed; leave it out",
    "strict": "weights whose shapes fit are loaded, and the others named; leave it out",
    "pretrained": "model=resnet18 model.weights=DEFAULT", "usepretrained": "model=resnet18 model.weights=DEFAULT",
    "numepochs": "epochs=16", "nepochs": "epochs=16", "maxepochs": "epochs=16", "epoch": "epochs=16",
    "maxiter": "max_steps=1000", "iterations": "max_steps=1000", "numsteps": "max_steps=1000",
    "learningrate": "optimizer.lr=0.01", "baselr": "optimizer.lr=0.01", "optim": "optimizer=sgd",
    "criterion": "loss=cross_entropy", "lossfn": "loss=cross_entropy", "net": "model=resnet18",
    "backbone": "model=resnet18", "scheduler": "schedule=cosine",
    "lrscheduler": "schedule=cosine", "transform": "transforms=augment", "targettransform":
    "a data set of yours gives the targets: python -m expkit new my_project shows one",
    "loader": "files are read by themselves, and a data set of yours may read them otherwise: python -m expkit new"
    " my_project shows one",
    "imagesize": "transforms.image_size=64", "imgsize": "transforms.image_size=64",
    "inputsize": "transforms.image_size=64", "cropsize": "transforms.image_size=64",
    "mean": "transforms.normalize.mean=[0.5,0.5,0.5]", "std": "transforms.normalize.std=[0.5,0.5,0.5]",
    "normalize": "transforms.normalize.mean=[0.5,0.5,0.5] transforms.normalize.std=[0.5,0.5,0.5]",
    "cuda": "device=gpu", "gpu": "device=gpu", "gpus": "device=multi_gpu device.count=2", "usecuda": "device=gpu",
    "nocuda": "device=cpu", "gpuid": "device=gpu device.index=0", "deviceids": "device=multi_gpu device.indices=[0,1]",
    "outputdevice": "device=multi_gpu", "worldsize": "device=multi_gpu", "localrank": "device=multi_gpu",
    "distbackend": "device=multi_gpu", "nprocpernode": "device=multi_gpu", "amp": "device.precision=bf16",
    "useamp": "device.precision=bf16", "half": "device=gpu device.precision=fp16",
    "fp16": "device=gpu device.precision=fp16", "bf16": "device.precision=bf16",
    "gradclip": "clip_grad_norm=1.0", "clipgrad": "clip_grad_norm=1.0", "maxnorm": "clip_grad_norm=1.0",
    "maxgradnorm": "clip_grad_norm=1.0", "gradaccum": "accumulate_steps=2", "accumulationsteps": "accumulate_steps=2",
    "gradientaccumulationsteps": "accumulate_steps=2", "patience": "early_stopping_patience=5",
    "data": "dataset.root=FOLDER", "datadir": "dataset.root=FOLDER", "dataroot": "dataset.root=FOLDER",
    "datapath": "dataset.root=FOLDER", "traindir": "dataset=image_folder dataset.root=FOLDER",
    "valdir": "dataset=image_folder dataset.root=FOLDER dataset.val_root=FOLDER",
    "logdir": "output_dir=outputs", "savedir": "output_dir=outputs", "outdir": "output_dir=outputs",
    "loginterval": "log_every=20", "printfreq": "log_every=20", "flushsecs": "logger.tensorboard.flush_seconds=30",
    "resume": "checkpoint.resume=RUN", "monitor": "checkpoint.monitor=accuracy",
    # Lightning's, Keras's and timm's.
    "lr": "optimizer.lr=0.01", "initiallearningrate": "optimizer.lr=0.01", "weightdecay": "optimizer.weight_decay=0.01",
    "wd": "optimizer.weight_decay=0.01", "momentum": "optimizer=sgd optimizer.momentum=0.9", "opt": "optimizer=sgd",
    "sched": "schedule=cosine", "warmupepochs": "schedule.warmup_epochs=1", "warmupsteps": "schedule.warmup_steps=100",
    "warmuplr": "schedule.warmup_start=0.01", "accelerator": "device=gpu", "devices":
    "device=multi_gpu device.count=2", "numdevices": "device=multi_gpu device.count=2", "numnodes":
    "device=multi_node device.nodes=2 device.endpoint=FIRST_HOST:29400", "strategy": "device=multi_gpu",
    "precision": "device.precision=bf16", "dtype": "device.precision=bf16", "mixedprecision": "device.precision=bf16",
    "ampdtype": "device.precision=bf16", "syncbatchnorm": "device=multi_gpu device.sync_batchnorm=true",
    "syncbn": "device=multi_gpu device.sync_batchnorm=true", "channelslast": "device.channels_last=true",
    "deterministic": "device.deterministic=true", "benchmark": "kernels are chosen by themselves; leave it out",
    "compile": "device.compile=true", "torchcompile": "device.compile=true",
    "accumulategradbatches": "accumulate_steps=2", "gradaccumsteps": "accumulate_steps=2",
    "gradientclipval": "clip_grad_norm=1.0", "gradientclipalgorithm": "clip_grad_norm=1.0", "clipnorm":
    "clip_grad_norm=1.0", "logeverynsteps": "log_every=20", "verbose": "log_every=20", "fastdevrun":
    "experiment=debug", "limitvalbatches": "limit_eval_batches=10", "overfitbatches": "limit_train_batches=10",
    "stepsperepoch": "limit_train_batches=10", "validationsteps": "limit_eval_batches=10",
    "validationsplit": "dataset.val_fraction=0.2", "valsplit": "dataset.val_fraction=0.2",
    "defaultrootdir": "output_dir=outputs", "ckptpath": "checkpoint.resume=RUN", "resumefromcheckpoint":
    "checkpoint.resume=RUN", "initialcheckpoint": "checkpoint.init_from=RUN", "savetopk": "checkpoint.keep_best=1",
    "checkpointhist": "checkpoint.keep_last=1", "enablecheckpointing": "checkpoint=none",
    "enableprogressbar": "a bar is drawn on a terminal only; leave it out", "seedeverything": "seed=0",
    "labelsmoothing": "loss.label_smoothing=0.1", "smoothing": "loss.label_smoothing=0.1", "modelema":
    "ema_decay=0.999", "modelemadecay": "ema_decay=0.999", "emadecay": "ema_decay=0.999", "swa": "swa_from=0.75",
    "mixup": "transforms.batch=[{name:mixup}]", "cutmix": "transforms.batch=[{name:cutmix}]", "freezebackbone":
    "'model.freeze=[\"*\"]'", "numclasses": "the data set knows its classes; leave it out", "metrics":
    "metric=f1", "callbacks": "early_stopping_patience=5 and checkpoint.monitor"
    " take the place of callbacks", "trainer": "the trainer's options are keys of their own, e.g. epochs=16", "arch":
    "model=resnet18", "modelname": "model=resnet18", "imagenet": "dataset=imagenet dataset.root=FOLDER",
    "savebestonly": "checkpoint.keep_last=1 checkpoint.keep_best=1", "evaluate":
    "python -m expkit evaluate RUN evaluates a run", "testonly": "python -m expkit evaluate RUN evaluates a run",
}  # fmt: skip

# What takes the place of a value, where the kind of the value does not tell it.
_COUNTS = {"0": "device=cpu", "1": "device=gpu", "-1": "device=multi_gpu", "auto": "device=auto", "all":
           "device=multi_gpu"}  # fmt: skip
_PRECISIONS = {
    "16": "fp16", "16-mixed": "fp16", "16-true": "fp16", "float16": "fp16", "half": "fp16", "mixed_float16": "fp16",
    "fp16": "fp16", "bf16": "bf16", "bf16-mixed": "bf16", "bf16-true": "bf16", "bfloat16": "bf16",
    "mixed_bfloat16": "bf16", "32": "fp32", "32-true": "fp32", "float32": "fp32", "fp32": "fp32", "tf32": "tf32",
    "64": "fp32", "auto": "auto", "amp": "bf16", "no": "fp32",
}  # fmt: skip
_TO_PRECISION = {word: f"device.precision={name}" for word, name in _PRECISIONS.items()}
_OF_VALUES: dict[str, dict[str, str]] = {
    "devices": _COUNTS, "gpus": _COUNTS, "numdevices": _COUNTS,
    **dict.fromkeys(("precision", "dtype", "mixedprecision", "ampdtype"), _TO_PRECISION),
    "accelerator": {"cpu": "device=cpu", "mps": "device=mps", "auto": "device=auto", "tpu": "device=auto"},
    "strategy": {
        "auto": "device=auto", "fsdp": "device=multi_gpu device.strategy=fsdp",
        "dp": "device=multi_gpu device.strategy=data_parallel",
    },
}  # fmt: skip


def instead(group: str, name: str) -> str:
    """Return `; SENTENCE` on what takes the place of a name of a group (ToTensor), "" where nothing is known of it."""
    if group == "device" and (found := re.fullmatch(r"(cuda|gpu|cpu|mps)(?::(\d+))?", name.lower())):
        kind = {"cuda": "gpu"}.get(found[1], found[1])
        index = f" device.index={found[2]}" if found[2] and kind == "gpu" else ""
        return f"; write device={kind}{index}"
    return _told(_OF_GROUPS.get(group, {}).get(_plain(name.rpartition(".")[2]), ""))


def instead_of_option(key: str, value: object = None) -> str:
    """Return `; SENTENCE` on what takes the place of an option (dataset.pin_memory), "" where nothing is known.

    value: what was typed or read for it, which the override that is named takes over where it can.
    """
    name = _plain(key.rpartition(".")[2])
    told = _OPTIONS.get(name, "")
    if not told or told.startswith(f"{key}="):
        return ""
    typed = str(value).lower() if value is None or isinstance(value, bool) else str(value)
    if by_value := _OF_VALUES.get(name, {}).get(typed.lower()):
        return _told(by_value)
    if name in ("devices", "gpus") and _kind(typed) == "list":
        told = "device=multi_gpu device.indices=[0,1]"
    if not _OVERRIDES.fullmatch(told) or typed == "none":
        return _told(told)
    if typed.lower() in ("false", "null", "no", "off") and _kind(told) != "bool":
        return "; write device=cpu" if told == "device=gpu" else "; leave it out"
    return _told(_with(told, typed))


def _with(told: str, typed: str) -> str:
    """Return overrides in which the typed value takes the place of the example of its kind, where there is one."""
    words = [word.partition("=") for word in told.split(" ")]
    fit = [place for place, (key, _, example) in enumerate(words) if _takes(key, example, typed)]
    if not fit or (len(fit) > 1 and words[fit[-1]][2] not in _PLACES):
        return told
    key = words[fit[-1]][0]
    value = f"{key}={typed}" if re.fullmatch(r"[\w./~,+\[\]-]+", typed) else as_override(key, typed)
    return " ".join(value if place == fit[-1] else "".join(word) for place, word in enumerate(words))


def _takes(key: str, example: str, typed: str) -> bool:
    return example in _PLACES or key in _FREE or _kind(example) == _kind(typed) != "text"


def _kind(text: str) -> str:
    """Return what a value, or that of the last of some overrides, is: bool, number, list or text."""
    text = text.rpartition("=")[2]
    kinds = {"bool": r"(?i:true|false)", "number": r"-?(\d+\.?\d*|\.\d+)(e-?\d+)?", "list": r"\[.*\]"}
    return next((kind for kind, pattern in kinds.items() if re.fullmatch(pattern, text)), "text")


def _told(text: str) -> str:
    return "" if not text else f"; write {text}" if _OVERRIDES.fullmatch(text) else f"; {text}"


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")


def meant(key: str, keys: Collection[str], value: object = None) -> str:
    """Return what to type in place of a key that is unknown: what takes its place, and the nearest key, or nothing."""
    told = instead_of_option(key, value)
    name = told.removeprefix("; write ").partition("=")[0]
    if name in keys and (near := nearest(key, [name])):
        return f"{near[:-1]}, e.g. {told.removeprefix('; write ')}?"
    return told or nearest(key, keys)
