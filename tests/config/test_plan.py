"""The jobs of a command line: Hydra's combinations, pairs and exclusions, and the same configs as Hydra composes."""

import re
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hydra.core.hydra_config import HydraConfig

from expkit.config.command_line import plan
from expkit.config.compose import Place, compose_one, plain
from expkit.config.hydra_app import run_by_hydra
from expkit.config.hydra_loader import Config, guarded, to_plain
from expkit.config.plan import JobConfig, Plan, plan_jobs
from expkit.core.errors import ConfigError


def planned(*overrides: str) -> Plan:
    with guarded():
        return plan_jobs(list(overrides), True, Place())


def jobs(*overrides: str) -> list[JobConfig]:
    return planned(*overrides).jobs


def words(*overrides: str) -> list[str]:
    return [" ".join(job.overrides) for job in jobs(*overrides)]


def test_all_combinations_come_in_hydras_order() -> None:
    found = words("model=small_cnn,mlp", "epochs=3", "seed=range(2)")
    assert found == [
        "model=small_cnn epochs=3 seed=0", "model=small_cnn epochs=3 seed=1",
        "model=mlp epochs=3 seed=0", "model=mlp epochs=3 seed=1",
    ]  # fmt: skip


def test_what_varies_is_known() -> None:
    assert planned("model=small_cnn,mlp", "epochs=3", "seed=0").varied == ["model"]


HARD = [
    ["model=small_cnn", "model.width=8", "optimizer=sgd", "optimizer.lr=0.1", "seed=3"],
    ["experiment=debug", "epochs=2", "model=mlp"],
    ["+model.extra=[1,2]", "model.extra=[3]"],
    ["~model.dropout"],
    ["+transforms.batch=[{name: MixUp, alpha: 0.2}]"],
    ["name='a,b'", "optimizer.lr=1e-3", "clip_grad_norm=null"],
    ["logger=none", "checkpoint=none", "dataset=fake", "dataset.size=40"],
    ["seed=3", "seed=4"],
    ["limit_train_batches=3", "early_stopping_patience=2"],
]


@pytest.mark.parametrize("overrides", HARD, ids=lambda given: " ".join(given))
def test_a_job_of_a_sweep_is_what_hydra_composes(overrides: list[str]) -> None:
    try:
        alone: object = plain(compose_one(overrides))
    except ConfigError as error:
        alone = str(error)
    try:
        swept: list[object] = [job.config for job in jobs(*overrides, "batch_size=7,8")]
    except ConfigError as error:
        swept = [str(error), str(error)]
    if isinstance(alone, str):
        assert swept == [alone, alone]
    else:
        assert swept == [{**alone, "batch_size": 7}, {**alone, "batch_size": 8}]  # type: ignore[dict-item]


def test_a_fault_in_a_value_is_told_in_our_words() -> None:
    with pytest.raises(ConfigError, match="has no option 'widht'; did you mean 'width'"):
        jobs("model=small_cnn", "model.widht=3,4")


def test_a_reference_is_resolved_for_each_job() -> None:
    assert [job.config["epochs"] for job in jobs("epochs=${seed}", "seed=3,4")] == [3, 4]


def test_code_in_one_of_the_values_is_refused() -> None:
    with pytest.raises(ConfigError, match="may not name code"):
        jobs("+model.extra={a: 1},{_target_: os.system}")
    with pytest.raises(ConfigError, match="environment"):
        jobs("name=a,'${oc.env:HOME}'")


def test_a_hundred_jobs_are_composed_in_a_few_seconds() -> None:
    began = time.process_time()
    assert len(jobs("optimizer.lr=0.1,0.01", "model=small_cnn,mlp", "seed=range(25)")) == 100
    assert time.process_time() - began < 15  # 1.3 s on an idle machine; each for itself they take 25


# ---- pairs and exclusions --------------------------------------------------------------------------------------------
def test_zip_pairs_values() -> None:
    found = words("sweep.zip=[model,optimizer.lr]", "model=small_cnn,mlp", "seed=0,1", "optimizer.lr=0.1,0.2")
    assert found == [
        "model=small_cnn seed=0 optimizer.lr=0.1", "model=small_cnn seed=1 optimizer.lr=0.1",
        "model=mlp seed=0 optimizer.lr=0.2", "model=mlp seed=1 optimizer.lr=0.2",
    ]  # fmt: skip


def test_two_groups_are_zipped() -> None:
    swept = ["model=small_cnn,mlp", "optimizer.lr=0.1,0.2", "seed=0,1", "epochs=1,2"]
    assert len(jobs("sweep.zip=[[model,optimizer.lr],[seed,epochs]]", *swept)) == 4


def test_exclusions_leave_jobs_out() -> None:
    found = words("sweep.exclude=[{model:mlp,optimizer.lr:0.1},{seed:1}]", "model=small_cnn,mlp",
                  "optimizer.lr=0.1,0.2", "seed=0,1")  # fmt: skip
    assert found == [
        "model=small_cnn optimizer.lr=0.1 seed=0", "model=small_cnn optimizer.lr=0.2 seed=0",
        "model=mlp optimizer.lr=0.2 seed=0",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["sweep.zip=[model,epochs]", "model=small_cnn,mlp"], "epochs is not swept over"),
        (["sweep.zip=[model,seed]", "model=small_cnn,mlp", "seed=0,1,2"], "equally many values of each key"),
        (["sweep.zip=model", "model=small_cnn,mlp"], "expected a list of two keys"),
        (["sweep.zap=[model,seed]", "seed=1,2"], "did you mean 'sweep.zip'"),
        (["sweep.exclude=[{seed:7}]", "seed=1,2"], "no job has seed=7"),
        (["sweep.exclude=[{seed:1},{seed:2}]", "seed=1,2"], "leaves no job"),
        (["sweep.exclude=seed", "seed=1,2"], "expected a list of mappings"),
        (["seed=range(0,200000)"], "more than 10,000 jobs"),
        (["seed=range(0,2000000000)"], "more than 10,000 jobs"),
        (["optimizer.lr=interval(0,1)"], "an interval is searched by hydra/sweeper=search"),
    ],
    ids=str,
)
def test_what_cannot_be_is_named(overrides: list[str], says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        jobs(*overrides)
    assert says in str(caught.value)


def test_zip_without_a_sweep_is_refused() -> None:
    with guarded(), pytest.raises(ConfigError, match="add -m"):
        plan_jobs(["sweep.zip=[model,seed]"], False, Place())


def test_a_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    choice = tmp_path / "conf/model/mine.yaml"
    choice.parent.mkdir(parents=True)
    choice.write_text("name: small_cnn\nwidth: 5\n")
    found = plan(["-m", "hydra/sweeper=search", "model=mlp,small_cnn", "epochs=1,2"])
    assert found.space is not None
    choice.write_text("name: small_cnn\nwidth: 99\n")
    assert found.space.compose(["model=mine"])["model"]["width"] == 5
    with guarded():
        assert plain(compose_one(["model=mine"]))["model"]["width"] == 99


# ---- one run ---------------------------------------------------------------------------------------------------------
COMMAND_LINES = [
    ["model=small_cnn", "seed=3"],
    ["experiment=debug", "hydra.job.name=mine", "hydra.verbose=false"],
    ["--config-name=config", "+note=${seed}", "~model.dropout"],
]


@pytest.mark.parametrize("arguments", COMMAND_LINES, ids=" ".join)
def test_a_run_is_started_with_the_config_that_hydra_would_compose(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its config is composed once; composing it again gives the same, Hydra's node included."""
    started: list[object] = []

    def job(config: Config, overrides: list[str]) -> None:
        assert HydraConfig.instance().cfg is not None
        node = to_plain(HydraConfig.instance().cfg)["hydra"]
        # Hydra adds it where it composes only to find the mode out.
        node["overrides"]["hydra"] = [one for one in node["overrides"]["hydra"] if one != "hydra.mode=RUN"]
        started.append((config, overrides, node))

    found = plan([*arguments, "hydra.verbose=[expkit]"])
    run_by_hydra(found, job)
    run_by_hydra(replace(found, composed=None), job)
    assert len(started) == 2
    assert started[0] == started[1]


def test_a_run_with_a_config_dir_is_started_with_what_was_checked(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.yaml").write_text("name: small_cnn\nwidth: 5\n")
    started: list[object] = []
    found = plan([f"--config-dir={tmp_path}", "model=mine", "seed=3", "hydra.verbose=[expkit]"])
    run_by_hydra(found, lambda config, overrides: started.append((config, overrides)))
    (job,) = found.jobs
    assert started == [(job.config, ["model=mine", "seed=3"])]
    assert job.config["model"] == {"name": "small_cnn", "width": 5}


@pytest.mark.parametrize(
    ("word", "choices"),
    [("model=glob(small*)", ["small_cnn", "small_resnet"]), ("model=glob([mlp,vgg*],exclude=vgg*)", ["mlp"])],
)
@pytest.mark.parametrize("sweeper", ["basic", "search"])
def test_a_glob_is_the_choices_that_it_matches(sweeper: str, word: str, choices: list[str]) -> None:
    found = [job.overrides[-1] for job in jobs(f"hydra/sweeper={sweeper}", word)]
    assert found == [f"model={choice}" for choice in choices]


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("model=glob(zz*)", "model: glob(zz*) matches no choice of conf/model; there is alexnet"),
        ("seed=range(3,1)", "seed: the range holds no value"),
        ("seed=range(1,5,0)", "seed: a range needs a step other than 0"),
        ("seed=range(0.5,1,0.0)", "seed: a range needs a step other than 0"),
        ("seed=interval(1,2),3", "seed: a list holds plain values, no interval() or range()"),
    ],
)
def test_values_that_are_none_are_refused(word: str, says: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(says)):
        jobs(word)


def test_a_search_of_whole_numbers_says_what_to_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from expkit.runs.check import check_plan

    monkeypatch.chdir(tmp_path)
    overrides = ["-m", "hydra/sweeper=search", "batch_size=interval(8,64)", "optimizer.lr=interval(1,2)"]
    with pytest.raises(ConfigError) as raised:
        check_plan(plan([*overrides, "model.width=tag(log,interval(4,8))"]))
    told = [
        "batch_size: expected integers, and interval() gives floats; write 'batch_size=int(interval(8,64))'",
        "model.width: expected integers, and interval() gives floats; write 'model.width=tag(log,int(interval(4,8)))'",
    ]
    assert [fault.partition(" (")[0] for fault in raised.value.faults] == [one.partition(" (")[0] for one in told]
    assert all(fault.startswith(one) for fault, one in zip(raised.value.faults, told, strict=True))


@pytest.mark.parametrize(
    ("swept", "count", "example"),
    [
        (["seed=0,0"], 1, "1 job with the same config as another one will run once (e.g. seed=0)"),
        (["optimizer.lr=0.1,1e-1,0.1"], 1, "2 jobs with the same config"),
        (["optimizer.lr=1,1.0"], 1, "1 job with the same config"),
        (["seed=0,1", "optimizer.lr=0.1,0.10"], 2, "2 jobs with the same config"),
        (["sweep.zip=[seed,epochs]", "seed=0,0,1", "epochs=1,2,1"], 3, ""),
    ],
)
def test_twins_run_once(
    swept: list[str], count: int, example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = plan(["-m", *swept])
    assert len(found.jobs) == count
    assert [note.startswith(example) for note in found.notes] == [True] * bool(example)
    if example:
        with pytest.raises(ConfigError, match="give each value once"):
            plan(["-m", *swept, "hydra/launcher=basic"])
