"""The plot of long runs: one line for each name in each panel, within its panel, and a small file."""

import xml.etree.ElementTree as ET

import plot
import pytest
from plot import Panel, ceiling, svg, thinned

SVG = "{http://www.w3.org/2000/svg}"


def lines(text: str) -> list[list[tuple[float, float]]]:
    """The points of each line."""
    found = ET.fromstring(text).iter(f"{SVG}polyline")
    return [[tuple(map(float, point.split(","))) for point in line.attrib["points"].split()] for line in found]


def test_a_line_goes_from_edge_to_edge_and_from_bottom_to_top() -> None:
    (line,) = lines(svg([Panel("threads", {"server": [0, 5, 10]})], 30))
    assert line[0] == (plot.LEFT, plot.HEIGHT - plot.BELOW)
    assert line[-1] == (plot.WIDTH - plot.RIGHT, plot.ABOVE)


def test_each_panel_has_its_lines_and_says_what_they_are() -> None:
    text = svg([Panel("memory, MiB", {"server": [1, 2], "client": [3, 4]}), Panel("threads", {"server": [5, 5]})], 30)
    words = [element.text for element in ET.fromstring(text).iter(f"{SVG}text")]
    assert len(lines(text)) == 3
    assert {"memory, MiB", "threads", "server", "client", "minutes", "30"} <= set(words)


def test_a_long_run_makes_a_small_file() -> None:
    values = [123.456 + number % 7 for number in range(10_000)]
    panels = [Panel(title, {"server": values, "client": values}) for title in ("a", "b", "c")]
    assert len(svg(panels, 600)) < 30_000


def test_neighbours_are_drawn_as_their_mean() -> None:
    assert thinned([1.0, 3.0] * plot.POINTS) == [2.0] * plot.POINTS
    assert thinned([1.0, 3.0]) == [1.0, 3.0]


def test_a_single_value_and_none_can_be_drawn() -> None:
    assert len(lines(svg([Panel("a", {"server": [1]}), Panel("b", {"server": [0, 0]}), Panel("c", {})], 1))) == 2


@pytest.mark.parametrize(("value", "top"), [(0, 1), (1, 1), (1.5, 2), (99, 100), (100, 100), (231, 400), (41.3, 50)])
def test_an_axis_ends_at_a_round_number(value: float, top: float) -> None:
    assert ceiling(value) == top
