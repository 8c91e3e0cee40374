"""Metrics that a config chooses: as torchmetrics computes them, the same for any ranks, and wrong ones told at once."""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torchmetrics import classification as tm

from expkit.config.registry import metrics
from expkit.core.errors import ConfigError
from expkit.tasks.chosen_metrics import OutputFacts, build_metrics
from expkit.tasks.metric import Metric, named_scores
from expkit.tasks.torch_metrics import quiet

CPU = torch.device("cpu")
NAMES = tuple("abcdefg")
SAMPLES = 60
FIVE = OutputFacts("single_label", NAMES[:5])
ONE, SEVERAL, NUMBERS = (OutputFacts(task, NAMES) for task in ("single_label", "multilabel", "regression"))
Node = dict[str, Any]


@pytest.fixture(autouse=True)
def _words(monkeypatch: pytest.MonkeyPatch) -> None:
    metrics.load_lazily("")
    monkeypatch.setattr(metrics, "_entries", dict(metrics._entries))

    @metrics.register("hits")
    def hits(outputs: Tensor, targets: Tensor, k: int = 1) -> float:
        return float((outputs.topk(k).indices == targets[:, None]).any(1).double().mean())

    hits.higher_is_better = True  # type: ignore[attr-defined]

    @metrics.register("both")
    def both(outputs: Tensor, targets: Tensor) -> dict[str, float]:
        return {"mean": float(outputs.mean()), "spread": float(outputs.std())}

    metrics.register("made")(lambda class_names: tm.MulticlassAccuracy(len(class_names), average="micro"))
    metrics.register("no_metric")(lambda: 3)
    metrics.register("failing")(_failing)


def _failing(outputs: Tensor, targets: Tensor) -> float:
    raise KeyError("the column age")


def built(node: Node, facts: OutputFacts = ONE) -> Metric:
    (metric,) = build_metrics({"own": metrics.check(node, "metric.own")}, facts)
    return metric


def samples(facts: OutputFacts) -> tuple[Tensor, Tensor]:
    draws = torch.Generator().manual_seed(2)
    logits = torch.randn(SAMPLES, len(NAMES), generator=draws)
    noisy = logits + torch.randn(logits.shape, generator=draws)
    if facts is ONE:
        return facts.answers(logits, noisy.argmax(1))
    return facts.answers(logits, (noisy > 0).float() if facts is SEVERAL else noisy)


AS_TORCHMETRICS: list[tuple[Node, OutputFacts, Callable[[], Any]]] = [
    ({"name": "F1Score", "average": "macro"}, ONE, lambda: tm.MulticlassF1Score(7, average="macro")),
    ({"name": "F1Score", "average": "macro"}, SEVERAL, lambda: tm.MultilabelF1Score(7, average="macro")),
    ({"name": "AUROC"}, ONE, lambda: tm.MulticlassAUROC(7)),
    ({"name": "MulticlassAUROC", "thresholds": 50}, ONE, lambda: tm.MulticlassAUROC(7, thresholds=50)),
    ({"name": "AveragePrecision"}, SEVERAL, lambda: tm.MultilabelAveragePrecision(7)),
    ({"name": "CohenKappa", "weights": "quadratic"}, ONE, lambda: tm.MulticlassCohenKappa(7, weights="quadratic")),
    ({"name": "MatthewsCorrCoef"}, ONE, lambda: tm.MulticlassMatthewsCorrCoef(7)),
    ({"name": "CalibrationError", "n_bins": 10}, ONE, lambda: tm.MulticlassCalibrationError(7, n_bins=10)),
    ({"name": "MulticlassHingeLoss"}, ONE, lambda: tm.MulticlassHingeLoss(7)),
    ({"name": "Accuracy", "task": "multiclass", "top_k": 2}, ONE, lambda: tm.MulticlassAccuracy(7, 2, average="micro")),
    ({"name": "MultilabelRankingLoss"}, SEVERAL, lambda: tm.MultilabelRankingLoss(7)),
    ({"name": "made"}, ONE, lambda: tm.MulticlassAccuracy(7, average="micro")),
    ({"name": "hits"}, ONE, lambda: tm.MulticlassAccuracy(7, average="micro")),
    ({"name": "auc"}, ONE, lambda: tm.MulticlassAUROC(7)),
    ({"name": "f1", "average": "weighted"}, ONE, lambda: tm.MulticlassF1Score(7, average="weighted")),
]
OF_NUMBERS = ["MeanSquaredError", "R2Score", "PearsonCorrCoef", "SpearmanCorrCoef", "ExplainedVariance"]


def updated(metric: Metric, outputs: Tensor, targets: Tensor, bounds: Sequence[tuple[int, int]]) -> Metric:
    metric = copy.deepcopy(metric)
    metric.reset(CPU)
    for first, end in bounds:
        metric.update(outputs[first:end], targets[first:end])
    return metric


class Group:
    """Stands for process groups whose ranks merge one after the other: what each would send is known beforehand."""

    def __init__(self, metrics: list[Metric]) -> None:
        sent: list[list[Any]] = []
        for metric in metrics:
            self.answers: Any = None
            taken: list[Any] = []
            copy.deepcopy(metric).merge(Taking(taken))  # type: ignore[arg-type]
            sent.append(taken)
        self.answers = zip(*sent, strict=True)

    def collect(self, value: Any) -> list[Any]:
        return list(next(self.answers))

    def gather(self, value: Tensor) -> Tensor:
        return torch.stack(next(self.answers))

    def sum(self, value: Tensor) -> Tensor:
        return self.gather(value).sum(0)


class Taking:
    """Takes down what a metric sends, as if it were alone."""

    def __init__(self, taken: list[Any]) -> None:
        self.taken = taken

    def collect(self, value: Any) -> list[Any]:
        self.taken.append(value)
        return [value]

    def gather(self, value: Tensor) -> Tensor:
        self.taken.append(value)
        return value[None]

    def sum(self, value: Tensor) -> Tensor:
        self.taken.append(value)
        return value


def shared_out(size: int, count: int) -> list[list[tuple[int, int]]]:
    """Return the bounds of each rank's parts of batches of 16; of the last one, of a single sample, most have none."""
    found: list[list[tuple[int, int]]] = [[] for _ in range(count)]
    for first, end in [(0, 16), (16, 32), (32, 48), (48, size - 1), (size - 1, size)]:
        for rank in range(count):
            found[rank].append(tuple(first + (end - first) * bound // count for bound in (rank, rank + 1)))  # type: ignore[arg-type]
    return found


def check_all(metric: Metric, outputs: Tensor, targets: Tensor, within: float = 1e-12) -> dict[str, float]:
    """Check that batches, ranks and a resume change nothing; returns the scores."""
    whole = updated(metric, outputs, targets, shared_out(SAMPLES, 1)[0])
    scores = named_scores(whole)
    resumed = copy.deepcopy(metric)
    resumed.load_state_dict(updated(metric, outputs, targets, shared_out(SAMPLES, 1)[0]).state_dict())
    assert named_scores(resumed) == scores
    for count in (2, 4):
        ranks = [updated(metric, outputs, targets, bounds) for bounds in shared_out(SAMPLES, count)]
        group = Group(ranks)
        ranks[0].merge(group)  # type: ignore[arg-type]
        assert named_scores(ranks[0]) == pytest.approx(scores, rel=within, abs=1e-15), f"{count} ranks"
    return scores


@pytest.mark.parametrize(("node", "facts", "reference"), AS_TORCHMETRICS)
def test_it_is_torchmetrics_own_for_any_ranks(node: Node, facts: OutputFacts, reference: Callable[[], Any]) -> None:
    outputs, targets = samples(facts)
    expected = reference()(outputs, targets)
    within = 1e-7 if node["name"] == "MultilabelRankingLoss" else 1e-12  # it sums each batch in float32
    assert check_all(built(node, facts), outputs, targets, within) == {"own": pytest.approx(float(expected), rel=2e-6)}


@pytest.mark.parametrize("name", OF_NUMBERS)
def test_of_numbers_too(name: str) -> None:
    import torchmetrics

    outputs, targets = samples(NUMBERS)
    options = {} if name in ("R2Score", "ExplainedVariance") else {"num_outputs": 7}
    with quiet():
        expected = getattr(torchmetrics, name)(**options)(outputs.double(), targets.double())
    found = check_all(built({"name": name}, NUMBERS), outputs, targets)
    assert list(found.values()) == pytest.approx(torch.atleast_1d(expected).tolist(), rel=1e-5)
    assert list(found) == ([f"own_{one}" for one in NAMES] if len(found) > 1 else ["own"])


def test_several_numbers_are_scores_of_their_own() -> None:
    outputs, targets = samples(ONE)
    by_class = built({"name": "Recall", "average": "none"})
    assert [*check_all(by_class, outputs, targets)] == [*by_class.directions] == [f"own_{name}" for name in NAMES]
    assert set(by_class.directions.values()) == {True}
    assert [*built({"name": "StatScores", "average": "macro"}, FIVE).directions] == [f"own_{n}" for n in range(5)]
    assert check_all(built({"name": "both"}), outputs, targets)["own_mean"] == pytest.approx(1 / 7)


def test_of_two_classes_binary_is_that_of_the_second() -> None:
    facts = OutputFacts("single_label", ("no", "yes"))
    outputs, targets = facts.answers(
        torch.randn(40, 2, generator=torch.Generator().manual_seed(0)), torch.arange(40) % 2
    )
    metric = built({"name": "F1Score", "task": "binary"}, facts)
    metric.update(outputs, targets)
    assert metric.compute() == pytest.approx(float(tm.BinaryF1Score()(outputs[:, 1], targets)))


@pytest.mark.parametrize(
    ("node", "higher"),
    [
        ({"name": "F1Score"}, True),
        ({"name": "CalibrationError"}, False),
        ({"name": "hits"}, True),
        ({"name": "both"}, None),
        ({"name": "both", "higher_is_better": False}, False),
        ({"name": "calibration_error"}, False),
    ],
)
def test_it_says_its_direction(node: Node, higher: bool | None) -> None:
    assert built(node).higher_is_better is higher


@pytest.mark.parametrize(
    ("node", "told"),
    [
        ({"name": "F1Scor"}, r"metric\.own\.name: .*'F1Score'"),
        ({"name": "F1Score", "averag": "macro"}, r"metric\.own\.averag: F1Score has no option 'averag'"),
        ({"name": "F1Score", "average": "median"}, r"metric\.own\.average: expected .*macro.* got 'median'"),
        ({"name": "F1Score", "threshold": 2.0, "task": "binary"}, r"metric\.own: F1Score refuses these options"),
        ({"name": "ConfusionMatrix"}, r"metric\.own: ConfusionMatrix cannot .*array of shape \(7, 7\)"),
        ({"name": "ROC"}, r"metric\.own: ROC cannot be computed"),
        ({"name": "MultilabelF1Score"}, r"metric\.own: MultilabelF1Score cannot be computed of outputs \(8, 7\)"),
        ({"name": "MeanSquaredError"}, r"metric\.own: MeanSquaredError cannot"),
        ({"name": "exact"}, r"metric\.own: exact cannot"),
        ({"name": "top_k", "k": 9}, r"metric\.own: top_k cannot"),
        ({"name": "no_metric"}, r"metric\.own: no_metric made a int, which is no metric"),
        ({"name": "failing"}, r"metric\.own: failing cannot be computed .*the column age"),
        ({"name": "BLEUScore"}, r"metric\.own\.name: unknown metric"),
    ],
)
def test_a_wrong_one_is_told(node: Node, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        built(node)


def test_a_name_that_is_taken_is_told() -> None:
    with pytest.raises(ConfigError, match="has a score 'accuracy' already"):
        build_metrics({"accuracy": metrics.check({"name": "Accuracy"})}, ONE, ["accuracy"])


def test_every_class_of_the_catalogue_has_a_signature() -> None:
    metrics.load_lazily("")
    names = [name for name in metrics.names() if metrics.entry(name).source == "torchmetrics"]
    assert len(names) > 140
    for name in names:
        assert not {"facts", "args", "kwargs"} & metrics.options(name).keys()
        assert not [
            one for one in metrics.options(name).values() if one.required and one.name.startswith(("task", "num_"))
        ]
