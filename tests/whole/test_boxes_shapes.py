"""Each real box does to raw bytes, upgrades and requests what docs/networks.md says, before any carrier goes through.

What a box lets hang, or holds back, costs seconds to see: bench/boxes.py --shapes shows that, and has the whole table.
"""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import boxes
import pytest
import shapes
from program import ROOT

PASSES = {"upgrade": "yes", "streamed": "yes", "chunked": "yes", "large": "yes", "kept": "yes"}
ALL = {
    "haproxy": PASSES | {"raw": "400"},
    "mitmproxy": {"raw": "yes", "upgrade": "yes", "large": "yes", "kept": "yes"},
    "mitmproxy-reverse": {"upgrade": "yes", "large": "yes", "kept": "yes"},
    "nginx": {"raw": "400", "upgrade": "stripped", "large": "413", "kept": "yes"},
    "privoxy": PASSES | {"chunked": "ended", "kept": "one"},
    "squid": {"raw": "400", "upgrade": "stripped", "streamed": "yes", "chunked": "yes", "large": "yes"},  # kept: or one
    "sslsplit-https": PASSES | {"upgrade": "stripped"},
    "sslsplit-ssl": PASSES | {"raw": "yes"},
}


@pytest.fixture(scope="module")
def server() -> Iterator[int]:
    with shapes.answering() as port:
        yield port


def test_all_boxes_are_here() -> None:
    assert set(boxes.recipes()) == set(ALL)


@pytest.mark.parametrize("name", ALL)
def test_what_the_box_does(server: int, name: str) -> None:
    with boxes.standing(name, server) as box:
        assert {shape: shapes.SHAPES[shape](box) for shape in ALL[name]} == ALL[name]
        assert shapes.SHAPES["half"](box) == "yes"  # what `http` needs: 512 KiB of known length each way
        assert box.issuer() == ("mitmproxy" if box.recipe.python else "Box Test CA"), "nobody ends the TLS here"


def test_a_box_that_ended_serves_again_at_the_same_port(server: int) -> None:
    with boxes.standing("haproxy", server) as box:
        port = box.port
        box.kill()
        with pytest.raises(OSError):
            box.dial()
        box.start()
        assert box.port == port
        assert shapes.SHAPES["half"](box) == "yes"


def test_a_box_that_cannot_start_says_why(server: int, tmp_path: Path) -> None:
    good = boxes.FOLDER / "haproxy.toml"
    (tmp_path / "bad.toml").write_text(good.read_text().replace("haproxy.cfg", "bad.cfg"))
    (tmp_path / "bad.cfg").write_text("surely this is wrong\n")
    with pytest.raises(boxes.Broken, match="unknown keyword"):
        boxes.Box(boxes.recipes(tmp_path)["bad"], server)


def test_a_program_that_is_not_there_is_named(server: int, tmp_path: Path) -> None:
    recipe = (boxes.FOLDER / "haproxy.toml").read_text()
    (tmp_path / "none.toml").write_text(recipe.replace('run = ["haproxy"', 'run = ["no-such-box"'))
    with pytest.raises(boxes.Missing, match="no-such-box is not installed: it is in Debian's haproxy"):
        boxes.Box(boxes.recipes(tmp_path)["none"], server)


def test_a_box_of_ones_own_is_measured_by_the_script(tmp_path: Path) -> None:
    """A few lines and a settings file in a folder, as docs/networks.md says."""
    recipe = (boxes.FOLDER / "haproxy.toml").read_text()
    (tmp_path / "own.toml").write_text(
        recipe.replace("HAProxy, mode http", "our own").replace("haproxy.cfg", "own.cfg")
    )
    (tmp_path / "own.cfg").write_text((boxes.FOLDER / "haproxy.cfg").read_text())
    words: list[str | Path] = [sys.executable, ROOT / "bench/boxes.py", "--folder", tmp_path, "--shapes"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=boxes.BOUND, check=False)
    assert done.returncode == 0, done.stderr
    assert "| our own | 400 | 400 | yes | yes | yes | yes | yes | yes |\n" in done.stdout
    assert "* our own: HAProxy version" in done.stdout
    done = subprocess.run([*words, "none"], capture_output=True, text=True, timeout=boxes.BOUND, check=False)
    assert done.returncode == 2
    assert "there is no none in" in done.stderr
