"""One figure of each kind."""

import numpy as np

from expkit.loggers.figures import Curves, Embedding, Graph, Histogram, Picture, Table, Text

PICTURE = Picture("val/worst", 0, 2, np.full((8, 9, 3), 200, np.uint8), "the worst")
FIGURES = [
    PICTURE,
    Histogram("weights/conv", 0, 2, np.array([0.0, 1.0, 2.0]), np.array([3.0, 4.0])),
    Curves("val/pr", 0, 2, "recall", "precision", {"cat": ([0.0, 1.0], [1.0, 0.5])}),
    Table("val/classes", 0, 2, ["class", "recall"], [["cat", 0.5]]),
    Text("model/summary", 0, 2, "**small**"),
    Embedding("val/embedding", 0, 2, np.eye(3, 4, dtype=np.float32), ["a", "b", "c"]),
    Graph("model/graph", 0, 2, [("input", "placeholder", [], [1, 3]), ("conv", "Conv2d", ["input"], [1, 8])]),
]
