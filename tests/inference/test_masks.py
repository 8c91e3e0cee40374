"""Masks: brought to another size by their scores, in the colours of PASCAL VOC, over the image."""

import numpy as np
import torch
from torch.nn import functional

from expkit.data.transforms import build_chain
from expkit.inference.masks import crop_of, mask_of, mask_picture, overlay, palette_of, shares_of

NAMES = ("background", "cat", "dog")


def test_a_larger_mask_is_the_greatest_of_interpolated_outputs() -> None:
    outputs = torch.randn(5, 8, 6)
    expected = functional.interpolate(outputs[None], size=(33, 50), mode="bilinear")[0].argmax(0)
    assert torch.equal(mask_of(outputs, (33, 50)).long(), expected)
    assert torch.equal(mask_of(outputs, (8, 6)).long(), outputs.argmax(0))


def test_colours_are_distinct_and_those_of_voc() -> None:
    colours = palette_of(NAMES)
    assert colours[:4].tolist() == [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0]]
    assert len(np.unique(colours, axis=0)) == 256
    assert palette_of(("road", "car"))[0].tolist() == [128, 0, 0]


def test_the_picture_keeps_the_numbers_and_the_overlay_the_background() -> None:
    mask = torch.tensor([[0, 1], [2, 2]], dtype=torch.uint8)
    picture = mask_picture(mask, NAMES)
    assert np.asarray(picture).tolist() == mask.tolist()
    assert picture.convert("RGB").getpixel((1, 0)) == (128, 0, 0)
    over = overlay(torch.full((3, 2, 2), 100, dtype=torch.uint8), mask, NAMES)
    assert over[:, 0, 0].tolist() == [100, 100, 100]
    assert over[:, 0, 1].tolist() == [114, 50, 50]
    assert shares_of(mask, NAMES) == {"background": 0.25, "cat": 0.25, "dog": 0.5}


def test_a_plain_resize_can_be_undone_and_a_crop_cannot() -> None:
    resize, crop = {"name": "Resize", "size": [8, 8]}, {"name": "CenterCrop", "size": 8}
    assert crop_of(build_chain([resize], 8, 8)) == ""
    assert crop_of(build_chain([], 8, 8)) == ""
    assert crop_of(build_chain([resize, crop], 8, 8)) == "CenterCrop"
