"""The model's summary and graph, its head's inputs, and the pictures of predictions."""

import torch
from torch import nn

from expkit.loggers.figures import Embedding, Graph, Picture, Table
from expkit.training.watch.base import Scene, Spread, Watcher, Where
from expkit.training.watch.dispatcher import judge
from expkit.training.watch.embeddings import Embeddings, head_of
from expkit.training.watch.images import Predictions
from expkit.training.watch.model_summary import ModelGraph, Summary

NET = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))


def seeing(watcher: Watcher, model: nn.Module = NET) -> Watcher:
    watcher.scene = Scene(model, (0.0,) * 3, (1.0,) * 3, ["cat", "dog"], "single_label", "{}.jpg".format, (8, 8))
    return watcher


def test_the_summary_counts_parameters_and_operations() -> None:
    (table,) = seeing(Summary()).start()
    assert isinstance(table, Table)
    rows = {row[0]: row[1:] for row in table.rows}
    # A multiply-add is two operations: 6 * 6 places, 4 outputs, 3 * 3 * 3 inputs each.
    assert rows["0"] == ["Conv2d", "4 × 6 × 6", 4 * 27 + 4, 2 * 36 * 4 * 27]
    assert rows["4"] == ["Linear", "2", 10, 2 * 4 * 2]
    assert rows["all"][2:] == [122, 2 * 36 * 4 * 27 + 16]


def test_the_graph_says_what_reads_what() -> None:
    (graph,) = seeing(ModelGraph()).start()
    assert isinstance(graph, Graph)
    found = {name: (kind, list(inputs), list(shape)) for name, kind, inputs, shape in graph.nodes}
    assert found["0"] == ("Conv2d", ["input_1"], [4, 6, 6])
    assert found["4"] == ("Linear", ["3"], [2])


def test_a_model_that_cannot_be_traced_is_shown_in_its_order() -> None:
    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 1)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            features = self.one(images)
            return self.two(features if features.sum() > 1e9 else -features)

    (graph,) = seeing(ModelGraph(), Branches()).start()
    assert isinstance(graph, Graph)
    assert [(name, list(inputs)) for name, _, inputs, _ in graph.nodes] == [("one", []), ("two", ["one"])]


def test_embeddings_are_what_the_head_reads() -> None:
    watcher = seeing(Embeddings(50))
    watcher.before_evaluation()
    images, indices = torch.rand(6, 3, 8, 8), torch.arange(6)
    logits = NET(images).detach()
    watcher.judge(judge(images, logits, torch.tensor([0, 1, 0, 1, 0, 1]), indices, "single_label"))
    (embedding,) = watcher.evaluated(Where(0, 1))
    assert isinstance(embedding, Embedding)
    expected = NET[:4](images).detach()
    order = [int(((expected - row) ** 2).sum(1).argmin()) for row in torch.from_numpy(embedding.vectors)]
    assert sorted(order) == list(range(6))
    assert torch.allclose(torch.from_numpy(embedding.vectors), expected[order], atol=1e-6)
    assert list(embedding.labels) == [["cat", "dog"][place % 2] for place in order]
    assert not head_of(NET, 2)._forward_pre_hooks  # nothing stays behind


def test_the_worst_mistakes_come_first_and_the_fixed_samples_stay_the_same() -> None:
    kept = []
    for shift in (0.0, 4.0):
        watcher = seeing(Predictions(count=3, worst=2))
        assert isinstance(watcher, Predictions)
        watcher.before_evaluation()
        logits = torch.tensor([[0.0, 1.0], [0.0, 9.0], [2.0, 0.0], [0.0, 3.0]]) - torch.tensor([0.0, shift])
        for part in (slice(0, 2), slice(2, 4)):
            indices = torch.arange(4)[part]
            judged = judge(
                torch.rand(2, 3, 8, 8), logits[part], torch.zeros(2, dtype=torch.int64), indices, "single_label"
            )
            watcher.judge(judged)
        kept.append([seen.index for seen in watcher._fixed.kept])
        worst = [watcher._view.tile(seen).remark for seen in watcher._worst]
        assert worst == (["is cat: 1.jpg", "is cat: 3.jpg"] if not shift else ["is cat: 1.jpg"])
        assert all(isinstance(one, Picture) for one in watcher.evaluated(Where(0, 1)))
    assert kept[0] == kept[1]


def test_a_spread_does_not_depend_on_the_batches() -> None:
    whole, parts = Spread[int](20), Spread[int](20)
    whole.add(torch.arange(1000), lambda place: place)
    for first in range(0, 1000, 37):
        parts.add(torch.arange(first, min(first + 37, 1000)), lambda place, first=first: first + place)
    assert whole.kept == parts.kept
    assert max(whole.kept) > 700
    assert min(whole.kept) < 300
