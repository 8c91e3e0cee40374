"""Shares as bars: in a page and as a file that stands alone."""

from pathlib import Path
from xml.etree import ElementTree

from expkit.core.plots.bar_chart import share_chart, write_share_chart


def test_a_bar_is_as_long_as_its_share(tmp_path: Path) -> None:
    write_share_chart(tmp_path / "bars.svg", "a <title>", {"optimizer.lr": 0.75, "<model>": 0.25})
    drawing = ElementTree.parse(tmp_path / "bars.svg").getroot()
    space = "{http://www.w3.org/2000/svg}"
    lengths = [float(bar.attrib["width"]) for bar in drawing.iter(f"{space}rect")]
    assert lengths[0] == 3 * lengths[1] > 0
    assert [text.text for text in drawing.iter(f"{space}text")] == ["optimizer.lr", "75%", "<model>", "25%"]
    page = share_chart("a <title>", {"<model>": 1.0})
    assert "<figcaption>a &lt;title&gt;</figcaption>" in page
    assert "&lt;model&gt;" in page
