"""The confusion matrix as pixels: shades follow the row's share, large ones stay small."""

import numpy as np

from expkit.core.plots.heatmap import draw_matrix, shade


def test_the_diagonal_of_a_good_model_is_dark_and_the_rest_light() -> None:
    counts = np.array([[90, 10], [0, 5]])
    picture = np.asarray(draw_matrix(counts, ["cat", "dog"], "confusion")).astype(int)
    dark = [tuple(colour) for colour in picture.reshape(-1, 3)]
    for share in (0.9, 0.1, 1.0):
        assert dark.count(shade(share)) > 300


def test_shades_grow_darker_and_stay_within_their_range() -> None:
    sums = [sum(shade(share)) for share in (-1.0, 0.0, 0.2, 0.6, 1.0, 2.0)]
    assert sums == sorted(sums, reverse=True)
    assert (sums[0], sums[-1]) == (sums[1], sums[-2])


def test_many_classes_and_long_names_fit() -> None:
    large = draw_matrix(np.eye(200, dtype=np.int64), ["n" * 80] * 200, "t" * 300)
    assert max(large.size) < 2000
    small = draw_matrix(np.eye(3, dtype=np.int64), ["a very long name of a class"] * 3, "")
    assert max(small.size) < 500
