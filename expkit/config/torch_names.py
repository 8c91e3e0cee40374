"""Names that PyTorch's users know and that are not registered here: what replaces them."""

import re
from collections.abc import Collection

from expkit.core.errors import nearest
from expkit.core.escaping import as_override

_PLACES = ("FOLDER", "RUN")  # stand for what is typed
_FREE = ("checkpoint.monitor", "output_dir")  # take any text
_OVERRIDES = re.compile(r"(?:(?:^| )(?:'[^']+'|\+?[\w.]+=\S+))+")


def _by_name(answers: dict[str, str]) -> dict[str, str]:
    return {name: answer for answer, names in answers.items() for name in names.split()}


# For each group: what to write or know -> the names that it replaces.
_OF_GROUPS = {group: _by_name(answers) for group, answers in {
    "transforms": {
        "images are uint8 tensors until the batch is normalised, on the device; leave it out":
        "totensor piltotensor toimage topuretensor todtype convertimagedtype totvtensor",
        "transforms work on tensors here, none needs a PIL image; leave it out": "topilimage",
        "register a function of yours, @transforms.register('NAME'), and add --plugin FILE.py":
        "lambda lineartransformation gaussiannoise",
        "the list itself is the composition: write its transforms into transforms.train": "compose",
        "the list itself is the sequence: write its transforms into transforms.train": "sequential",
        "the batch is normalised on the device: transforms.normalize.mean=[0.5,0.5,0.5]"
        " transforms.normalize.std=[0.5,0.5,0.5]": "normalize",
        "it is called Resize now": "scale", "it is called RandomResizedCrop now": "randomsizedcrop",
        "there is RandomHorizontalFlip and RandomVerticalFlip": "randomflip",
        "it makes several images of one; python -m expkit predict RUN IMAGES --views five_crop averages over crops":
        "fivecrop tencrop",
        "it mixes a batch: transforms.batch=[{name:mixup}]": "mixup",
        "it mixes a batch: transforms.batch=[{name:cutmix}]": "cutmix",
    },
    "sampler": {
        "sampler=shuffle": "randomsampler random", "sampler=sequential": "sequentialsampler",
        "sampler=weighted 'sampler.class_weights={dog: 2, cat: 1}'": "weightedrandomsampler",
        "sampler=subset": "subsetrandomsampler subset",
        "batch_size=32 says how many samples a batch has": "batchsampler",
        "device=multi_gpu shares the samples out by itself; leave it out": "distributedsampler",
        "sampler=sequential keeps the order of the data": "none null",
    },
    "device": {
        "device=gpu": "cuda rocm", "device=gpu device.index=0": "0",
        "device=multi_gpu device.strategy=data_parallel": "dataparallel dp",
        "device=multi_gpu": "distributeddataparallel ddp distributed",
        "device=multi_gpu device.strategy=fsdp": "fsdp fullyshardeddataparallel",
        "device=multi_gpu starts the processes by itself": "torchrun",
        "there is none for TPUs; device=auto takes what the machine has": "xla",
    },
    "logger": {"logger=tensorboard": "summarywriter tensorboardx", "logger=visdom": "viz"},
    "loss": {
        "loss=cross_entropy takes what the model gives, without a softmax of yours": "nllloss",
        "loss=bce takes what the model gives, without a sigmoid": "bceloss",
        "loss=cross_entropy": "crossentropyloss", "loss=bce": "bcewithlogitsloss",
    },
    "schedule": {
        "schedule=step": "steplr", "schedule=cosine": "cosineannealinglr", "schedule=one_cycle": "onecyclelr",
        "schedule=torch schedule.name=ReduceLROnPlateau": "reducelronplateau", "schedule=constant": "null none",
    },
    "dataset": {
        "dataset=image_folder dataset.root=FOLDER": "imagefolder datasetfolder", "dataset=fake": "fakedata",
        "dataset=coco dataset.root=FOLDER dataset.annotations=FILE": "cocodetection",
        "dataset.num_workers=auto and batch_size=32 are options here; the data set has a name of its own": "dataloader",
    },
}.items()}  # fmt: skip

# What to write or know -> the names of options that it replaces, those of PyTorch, Lightning, Keras and timm.
_OPTIONS = _by_name({
    "memory is pinned by itself where the device is a GPU; leave it out": "pinmemory",
    "images of one size are stacked, and dataset.on_bad=skip leaves out those that cannot be read": "collatefn",
    "sampler=shuffle draws a new order each epoch, sampler=sequential keeps that of the data": "shuffle",
    "batch_size=32 and sampler=shuffle say what a batch is": "batchsampler", "batch_size=32": "batchsize batch bs",
    "dataset.num_workers=4": "workers numworkers", "dataset.drop_last=true": "droplast",
    "+dataset.prefetch=2": "prefetchfactor", "dataset.timeout=60": "timeout",
    "workers stay from epoch to epoch by themselves; leave it out": "persistentworkers",
    "each sample's random draws are seeded by themselves; leave it out": "workerinitfn",
    "seed=0 keys every random draw": "generator", "seed=0": "manualseed randomseed seedeverything",
    "+dataset.start_method=spawn": "multiprocessingcontext",
    "sampler=class_balanced sampler.num_samples=1000": "numsamples",
    "the sampler called weighted has sampler.replacement": "replacement",
    "a checkpoint is loaded to where the run is: device=cpu": "maplocation",
    "a file of weights is never executed; leave it out": "weightsonly",
    "weights whose shapes fit are loaded, and the others named; leave it out": "strict",
    "model=resnet18 model.weights=DEFAULT": "pretrained usepretrained",
    "epochs=16": "numepochs nepochs maxepochs epoch", "max_steps=1000": "maxiter iterations numsteps",
    "optimizer.lr=0.01": "learningrate baselr lr initiallearningrate", "optimizer=sgd": "optim opt",
    "loss=cross_entropy": "criterion lossfn", "model=resnet18": "net backbone arch modelname",
    "schedule=cosine": "scheduler lrscheduler sched", "transforms=augment": "transform",
    "a data set of yours gives the targets: python -m expkit new my_project shows one": "targettransform",
    "files are read by themselves, and a data set of yours may read them otherwise: python -m expkit new "
    "my_project shows one": "loader",
    "transforms.image_size=64": "imagesize imgsize inputsize cropsize",
    "transforms.normalize.mean=[0.5,0.5,0.5]": "mean", "transforms.normalize.std=[0.5,0.5,0.5]": "std",
    "transforms.normalize.mean=[0.5,0.5,0.5] transforms.normalize.std=[0.5,0.5,0.5]": "normalize",
    "device=gpu": "cuda gpu usecuda accelerator", "device=multi_gpu device.count=2": "gpus devices numdevices",
    "device=cpu": "nocuda", "device=gpu device.index=0": "gpuid", "device=multi_gpu device.indices=[0,1]": "deviceids",
    "device=multi_gpu": "outputdevice worldsize localrank distbackend nprocpernode strategy",
    "device.precision=bf16": "amp useamp bf16 precision dtype mixedprecision ampdtype",
    "device=gpu device.precision=fp16": "half fp16",
    "clip_grad_norm=1.0": "gradclip clipgrad maxnorm maxgradnorm gradientclipval gradientclipalgorithm clipnorm",
    "accumulate_steps=2": "gradaccum accumulationsteps gradientaccumulationsteps accumulategradbatches gradaccumsteps",
    "early_stopping_patience=5": "patience", "dataset.root=FOLDER": "data datadir dataroot datapath",
    "dataset=image_folder dataset.root=FOLDER": "traindir",
    "dataset=image_folder dataset.root=FOLDER dataset.val_root=FOLDER": "valdir",
    "output_dir=outputs": "logdir savedir outdir defaultrootdir",
    "log_every=20": "loginterval printfreq logeverynsteps verbose", "logger.tensorboard.flush_seconds=30": "flushsecs",
    "checkpoint.resume=RUN": "resume ckptpath resumefromcheckpoint", "checkpoint.monitor=accuracy": "monitor",
    "optimizer.weight_decay=0.01": "weightdecay wd", "optimizer=sgd optimizer.momentum=0.9": "momentum",
    "schedule.warmup_epochs=1": "warmupepochs", "schedule.warmup_steps=100": "warmupsteps",
    "schedule.warmup_start=0.01": "warmuplr",
    "device=multi_node device.nodes=2 device.endpoint=FIRST_HOST:29400": "numnodes",
    "device=multi_gpu device.sync_batchnorm=true": "syncbatchnorm syncbn", "device.channels_last=true": "channelslast",
    "device.deterministic=true": "deterministic", "kernels are chosen by themselves; leave it out": "benchmark",
    "device.compile=true": "compile torchcompile", "experiment=debug": "fastdevrun",
    "limit_eval_batches=10": "limitvalbatches validationsteps",
    "limit_train_batches=10": "overfitbatches stepsperepoch", "dataset.val_fraction=0.2": "validationsplit valsplit",
    "checkpoint.init_from=RUN": "initialcheckpoint", "checkpoint.keep_best=1": "savetopk",
    "checkpoint.keep_last=1": "checkpointhist", "checkpoint=none": "enablecheckpointing",
    "a bar is drawn on a terminal only; leave it out": "enableprogressbar",
    "loss.label_smoothing=0.1": "labelsmoothing smoothing", "ema_decay=0.999": "modelema modelemadecay emadecay",
    "swa_from=0.75": "swa", "transforms.batch=[{name:mixup}]": "mixup", "transforms.batch=[{name:cutmix}]": "cutmix",
    '\'model.freeze=["*"]\'': "freezebackbone", "the data set knows its classes; leave it out": "numclasses",
    "metric=f1": "metrics",
    "early_stopping_patience=5 and checkpoint.monitor take the place of callbacks": "callbacks",
    "the trainer's options are keys of their own, e.g. epochs=16": "trainer",
    "dataset=imagenet dataset.root=FOLDER": "imagenet",
    "checkpoint.keep_last=1 checkpoint.keep_best=1": "savebestonly",
    "python -m expkit evaluate RUN evaluates a run": "evaluate testonly",
})  # fmt: skip

# What replaces a value, where the kind of the value does not tell.
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
    """Return `; SENTENCE` on what replaces a name of a group (ToTensor), or ""."""
    if group == "device" and (found := re.fullmatch(r"(cuda|gpu|cpu|mps)(?::(\d+))?", name.lower())):
        kind = {"cuda": "gpu"}.get(found[1], found[1])
        index = f" device.index={found[2]}" if found[2] and kind == "gpu" else ""
        return f"; write device={kind}{index}"
    return _hint(_OF_GROUPS.get(group, {}).get(_plain(name.rpartition(".")[2]), ""))


def instead_of_option(key: str, value: object = None) -> str:
    """Return `; SENTENCE` on what replaces an option (dataset.pin_memory), or "".

    value: what was given for it, which the suggested override takes over where it can.
    """
    name = _plain(key.rpartition(".")[2])
    answer = _OPTIONS.get(name, "")
    if not answer or answer.startswith(f"{key}="):
        return ""
    typed = str(value).lower() if value is None or isinstance(value, bool) else str(value)
    if by_value := _OF_VALUES.get(name, {}).get(typed.lower()):
        return _hint(by_value)
    if name in ("devices", "gpus") and _kind(typed) == "list":
        answer = "device=multi_gpu device.indices=[0,1]"
    if not _OVERRIDES.fullmatch(answer) or typed == "none":
        return _hint(answer)
    if typed.lower() in ("false", "null", "no", "off") and _kind(answer) != "bool":
        return "; write device=cpu" if answer == "device=gpu" else "; leave it out"
    return _hint(_with(answer, typed))


def _with(answer: str, typed: str) -> str:
    """Return overrides with the typed value in place of the example of its kind, where there is one."""
    words = [word.partition("=") for word in answer.split(" ")]
    fit = [place for place, (key, _, example) in enumerate(words) if _takes(key, example, typed)]
    if not fit or (len(fit) > 1 and words[fit[-1]][2] not in _PLACES):
        return answer
    key = words[fit[-1]][0]
    value = f"{key}={typed}" if re.fullmatch(r"[\w./~,+\[\]-]+", typed) else as_override(key, typed)
    return " ".join(value if place == fit[-1] else "".join(word) for place, word in enumerate(words))


def _takes(key: str, example: str, typed: str) -> bool:
    return example in _PLACES or key in _FREE or _kind(example) == _kind(typed) != "text"


def _kind(text: str) -> str:
    """Return the kind of a value, or of the last value of some overrides: bool, number, list or text."""
    text = text.rpartition("=")[2]
    kinds = {"bool": r"(?i:true|false)", "number": r"-?(\d+\.?\d*|\.\d+)(e-?\d+)?", "list": r"\[.*\]"}
    return next((kind for kind, pattern in kinds.items() if re.fullmatch(pattern, text)), "text")


def _hint(text: str) -> str:
    return "" if not text else f"; write {text}" if _OVERRIDES.fullmatch(text) else f"; {text}"


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")


def meant(key: str, keys: Collection[str], value: object = None) -> str:
    """Return a hint at what to write in place of an unknown key: what replaces it, and the nearest key, or ""."""
    hint = instead_of_option(key, value)
    override = hint.removeprefix("; write ")
    name = override.partition("=")[0]
    if name in keys and (near := nearest(key, [name])):
        return f"{near[:-1]}, e.g. {override}?"
    return hint or nearest(key, keys)
