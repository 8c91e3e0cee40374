"""What is wrong with a command line, and what then is typed: overrides, flags, sweeps and searches."""

from pathlib import Path

import pytest

from tests.remedies.told import fault_of_line, hands_on, says, words_of

WHOLE_NUMBERS = "expected integers, and interval() gives floats; write '{}'"  # told by what checks the jobs
# (what is typed, what is said, {} for whatever; what then is typed in its place, each of several ways)
OVERRIDES: list[tuple[str, str, list[str]]] = [
    ("seed", "an override is KEY=VALUE: {}=…", ["seed=1"]),
    ("=1", "names no key; an override is KEY=VALUE", ["seed=1"]),
    ("seed:1", "did you mean '{}={}'?", ["seed=1"]),
    ("sead=1", "did you mean 'seed'?", ["seed=1"]),
    ("lr=0.1", "; write {}", ["optimizer.lr=0.1"]),
    ("eval_batch=3", "; did you mean '{}'?", ["eval_batch_size=3"]),
    ("frob=1", "; python -m expkit.run --cfg job shows all keys", ["--cfg job"]),
    ("model.widht=8", "; did you mean 'width'?", ["model.width=8"]),
    ("optimizer.nesterov=true", "it is in {}", ["optimizer=sgd optimizer.nesterov=true"]),
    ("sampler.num_samples=9", "it is in {}", ["sampler=class_balanced sampler.num_samples=9"]),
    ("optimizer.amsgrad=true", "; +{}=… adds it", ["+optimizer.amsgrad=true"]),
    ("optimizer.rho=0.9", "the chosen conf/{} has no option 'rho'; it is in {}",
     ["optimizer=torch optimizer.name=adadelta +optimizer.rho=0.9"]),
    ("optimizer.frob=1", "; see `python -m expkit.run --list {}`", ["--list optimizer"]),
    ("model.frob=1", "; see `python -m expkit.run --list {}`", ["--list model"]),
    ("model=resnet34x", "did you mean {}={} {}.name={}?", ["model=torchvision model.name=resnet34"]),
    ("model=densenet201", "; write {}={} {}.name={}", ["model=torchvision model.name=densenet201"]),
    ("optimizer=adafactor", "; write {}={} {}.name={}", ["optimizer=torch optimizer.name=adafactor"]),
    ("model=timm/resnet18", "; write {}={} {}.name={}", ["model=timm model.name=timm/resnet18"]),
    ("model=timm", "is needed; give it as {}=…", ["model=timm model.name=timm/resnet18"]),
    ("~optimizer", "is required; choose one with {}=…", ["optimizer=sgd"]),
    ("dataset=null", "leave it out, or name one", ["", "dataset=fake"]),
    ("device=cuda:0", "; write device={}{}", ["device=gpu device.index=0"]),
    ("transforms.eval=[Grayscale]", "; write {name: {}}", ["'transforms.eval=[{name: Grayscale}]'"]),
    ("transforms.eval=[Resize(size=8)]", "; write {name: {}}, with its options as name: value beside it",
     ["'transforms.eval=[{name: Resize, size: 8}]'"]),
    ("transforms.eval=[3]", "see `python -m expkit.run --list {}`", ["--list transforms"]),
    ("optimizer.lr='interval(1e-4'", "; close what is open",
     ["-m hydra/sweeper=search 'optimizer.lr=interval(1e-4,1)'"]),
    ("hydra.job.name='{a:'", "; close what is open, or, if this is a text, write {}", ["'hydra.job.name=\"{a:\"'"]),
    ("'+model={name:small_cnn'", "; close what is open, and put an override with brackets or spaces in quotes",
     []),
    ("'output_dir=${model.name'", "; close what is open, as in ${seed}", ["'output_dir=${model.name}'"]),
    ("'output_dir=${sed}'", "; where ${ is part of a text, write \\${", ["'output_dir=\\${sed}'"]),
    ("'name=${oc.env:HOME}'", "may not read the environment or compute; give the value itself", ["name=me"]),
    ("+optimizer._target_=torch.optim.SGD", "use a `name` from `python -m expkit.run --list`",
     ["--list optimizer", "optimizer=sgd"]),
    ("output_dir=a,b", "add -m to run each of them, or write {} for one text",
     ["-m output_dir=a,b", "'output_dir=\"a,b\"'"]),
    ("transforms.normalize.mean=0.5,0.5,0.5", "add -m to run each of them, or write {}=[{}] for a list",
     ["transforms.normalize.mean=[0.5,0.5,0.5]"]),
    ("seed=range(3)", "stands for several values; add -m to run each of them", ["-m seed=range(3)"]),
    ("hydra.run.dir='my runs'", "; give {}", ["'output_dir=my runs'"]),
    ("hydra.sweep.dir=here", "add -m, or give output_dir=… for the folder of runs",
     ["-m hydra.sweep.dir=here", "output_dir=here"]),
    ("hydra.sweep.subdir=here", "; leave it out, output_dir=… is the folder of runs", ["", "output_dir=here"]),
    ("hydra.frob=1", "; python -m expkit.run --cfg hydra shows all", ["--cfg hydra"]),
    ("hydra.sweeper.n_trials=3", "add hydra/sweeper=search",
     ["-m hydra/sweeper=search hydra.sweeper.n_trials=3 seed=0,1"]),
    ("sweep.zip=[seed,epochs]", ": goes with a sweep; add -m", ["-m seed=0,1 epochs=1,2 sweep.zip=[seed,epochs]"]),
]  # fmt: skip
FLAGS: list[tuple[str, str, list[str]]] = [
    ("--batch-size=8", "; an override has no dashes: {}={}", ["batch_size=8"]),
    ("--output-dir='a b'", "; an override has no dashes: {}", ["'output_dir=a b'"]),
    ("--bs=8", "unknown flag; write {}", ["batch_size=8"]),
    ("--plugn=a.py", "; did you mean '{}'?", []),
    ("--frobnicate", "; see `expkit run --help`", ["--help"]),
    ("--experimental-rerun a", "; give the overrides again", []),
    ("--cfg job --info", "give one of {} at a time", ["--cfg job", "--info"]),
    ("--resolve", "goes with --cfg or --help; add one of them", ["--resolve --cfg job", "--resolve --help"]),
    ("hydra/launcher=ray -m seed=0,1", "install expkit[ray]", []),
]
SWEEPS: list[tuple[str, str, list[str]]] = [
    ("seed=range(3,3)", "give range(START,STOP) with STOP above START", ["seed=range(3,5)"]),
    ("optimizer.lr=interval(0.1,0.2)", "an interval is searched by hydra/sweeper=search",
     ["hydra/sweeper=search optimizer.lr=interval(0.1,0.2)"]),
    ("epochs=1,range(2,4)", "a list holds plain values, no interval() or range(); give one or the other",
     ["epochs=1,2,3", "epochs=range(2,4)"]),
    ("seed=0,1 sweep.zip=[seed,epochs]", "is not swept over; give its values, {}=…,…",
     ["seed=0,1 epochs=1,2 sweep.zip=[seed,epochs]"]),
    ("seed=0,1 sweep.zip=[epochs,batch_size]", "is not swept over; give its values, {}=…,…",
     ["seed=0,1 epochs=1,2 batch_size=4,8 sweep.zip=[epochs,batch_size]"]),
    ("seed=0,1 sweep.zipp=[seed,epochs]", "did you mean 'sweep.zip'?", ["seed=0,1 epochs=1,2 sweep.zip=[seed,epochs]"]),
    ("seed=0,1 'sweep.exclude=[{seed:2}]'", "did you mean '{}'?", ["seed=0,1 'sweep.exclude=[{seed:1}]'"]),
    ("seed=0,1 'sweep.exclude=[{seed:0},{seed:1}]'", "exclude fewer", ["seed=0,1 'sweep.exclude=[{seed:0}]'"]),
    ("seed=0,1 hydra.run.dir=here", "the folder of a sweep is hydra.sweep.dir=…", ["seed=0,1 hydra.sweep.dir=here"]),
    ("seed=0,1 hydra.job.chdir=true", "the jobs of a sweep all run in this folder; leave it out", ["seed=0,1"]),
    ("seed=0,1 hydra.sweep.subdir=a", "has its number and config in its name; leave it out", ["seed=0,1"]),
    ("seed=0,1 hydra.verbose=true", "expkit runs a sweep by itself; leave it out", ["seed=0,1"]),
    ("seed=0,1 hydra/launcher=joblib", "or use pool", ["seed=0,1 hydra/launcher=pool"]),
]  # fmt: skip
# Behind hydra/sweeper=search.
SEARCHES: list[tuple[str, str, list[str]]] = [
    ("seed=0", "give e.g. '{}=tag(log,interval({},{}))' or model=small_resnet,small_cnn",
     ["seed=0 'optimizer.lr=tag(log,interval(1e-4,1e-1))'", "model=small_resnet,small_cnn"]),
    ("optimizer.lr=loguniform(1e-4,1e-1)", "; write tag(log,interval(LOW,HIGH))",
     ["optimizer.lr=tag(log,interval(1e-4,1e-1))"]),
    ("optimizer.lr=uniform(0.1,0.2)", "; write interval(LOW,HIGH)", ["optimizer.lr=interval(0.1,0.2)"]),
    ("epochs=randint(1,9)", "; write int(interval(LOW,HIGH))", ["epochs=int(interval(1,9))"]),
    ("epochs=arange(1,9,2)", "; write range(START,STOP,STEP)", ["epochs=range(1,9,2)"]),
    ("epochs=categorical(1,9)", "; write choice(A,B,…)", ["epochs=choice(1,9)"]),
    ("optimizer.lr=intervall(0.1,0.2)", "; did you mean 'interval'?", ["optimizer.lr=interval(0.1,0.2)"]),
    ("optimizer.lr=interval(0.1)", "cannot be read; write interval(LOW,HIGH)", ["optimizer.lr=interval(0.1,0.2)"]),
    ("epochs=range(a)", "cannot be read; write range(START,STOP,STEP)", ["epochs=range(1,9,2)"]),
    ("optimizer.lr=tag(lg,interval(0.1,0.2))", "; did you mean 'log'?", ["optimizer.lr=tag(log,interval(0.1,0.2))"]),
    ("epochs=int(tag(log,range(1,9)))", "stands outermost and with a name, e.g. tag(log,interval({}))",
     ["epochs=tag(log,range(1,9))"]),
    ("epochs=tag(log,choice(1,2))", "leave tag(log,…) out, or give interval() in place of the list",
     ["epochs=choice(1,2)", "epochs=tag(log,int(interval(1,2)))"]),
    ("epochs=tag(log,range(1,9,2))", "write tag(log,{}interval({},{}){})", ["epochs=tag(log,int(interval(1,7)))"]),
    ("optimizer.lr=tag(log,range(0.1,0.9,0.2))", "write tag(log,{}interval({},{}){})",
     ["optimizer.lr=tag(log,interval(0.1,0.7))"]),
    ("epochs=interval(1,9)", WHOLE_NUMBERS, ["epochs=int(interval(1,9))"]),
    ("epochs=range(1.0,9.0,2.0)", WHOLE_NUMBERS, ["epochs=range(1,8,2)"]),
    ("epochs=tag(log,interval(1.5,9.5))", WHOLE_NUMBERS, ["epochs=tag(log,int(interval(2,9)))"]),
    ("epochs=range(9,9)", "give range(START,STOP) with STOP above START", ["epochs=range(1,9)"]),
    ("epochs=1,range(2,4)", "a list holds plain values, no interval() or range(); give one or the other",
     ["epochs=1,2", "epochs=range(2,4)"]),
    ("seed=0,1 hydra/launcher=basic", "leave the launcher out (hydra.launcher.n_jobs=1)",
     ["seed=0,1", "seed=0,1 hydra.launcher.n_jobs=1"]),
    ("seed=0,1 hydra.sweeper.trials=3", "did you mean 'n_trials'?", ["seed=0,1 hydra.sweeper.n_trials=3"]),
    ("seed=0,1 +hydra.sweeper.trials=3", "did you mean 'n_trials'?", ["seed=0,1 hydra.sweeper.n_trials=3"]),
]  # fmt: skip
ROWS = [
    *OVERRIDES, *FLAGS, *[(f"-m {typed}", said, [f"-m {one}" for one in then]) for typed, said, then in SWEEPS],
    *[(f"-m hydra/sweeper=search {typed}", said, [f"-m hydra/sweeper=search {one}" for one in then])
      for typed, said, then in SEARCHES],
]  # fmt: skip


@pytest.mark.parametrize(("typed", "said", "then"), ROWS, ids=[row[0] for row in ROWS])
def test_what_is_said_can_be_typed(
    typed: str, said: str, then: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    message = fault_of_line(*words_of(typed), is_quick=said != WHOLE_NUMBERS)
    assert says(message, said), message
    for line in then:
        hands_on(message, words_of(typed), words_of(line))
        assert not fault_of_line(*words_of(line), is_quick=True), line
