"""Usage text, man page and completions say the same; the real shells and man take them.

Each comparison is first shown to fail on a bad sample. The parsers are in usage_texts.py, the shells in shells.py.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import shells
import usage_texts
from docopt import DocoptExit, docopt

from nitrosocks_lib.cli import main as cli
from nitrosocks_lib.cli import options as specs
from nitrosocks_lib.cli.usage import USAGE
from nitrosocks_lib.facts.wire import EncryptType

ROOT = Path(__file__).resolve().parents[2]
COMPLETIONS = ROOT / "completions"
MAN = ROOT / usage_texts.DOCUMENTS["man"]
TEXTS = {"usage": USAGE} | {name: (ROOT / path).read_text("utf-8") for name, path in usage_texts.DOCUMENTS.items()}
CODES = {str(code) for code in (0, cli.EXIT_FAULT, cli.EXIT_CONNECT, *(code for _, code in cli._CODES))}
OPTIONS = usage_texts.usage_options(USAGE)
COMMANDS = set(OPTIONS) - {""}


# The texts against each other

BAD = [
    # an option
    ("usage", "[--drain TIME] ", ""),
    ("usage", "[--retry]", "[--retry] [--again]"),
    ("usage", "  --retry              keep", "  --again              keep"),
    ("usage", "  -N                   ignored", "  -N, ignored"),
    ("man", "[\\fB\\-\\-retry\\fP]\n", ""),
    ("man", "[\\fB\\-\\-retry\\fP]\n", "[\\fB\\-\\-retry\\fP]\n[\\fB\\-\\-again\\fP]\n"),
    ("man", "\\fISPEC\\fP)...\\&", "\\fISPEC\\fP]...\\&"),
    ("man", "[\\fB\\-4\\fP | \\fB\\-6\\fP]", "[\\fB\\-4\\fP] [\\fB\\-6\\fP]"),
    ("man", ".TP\n.B \\-\\-retry\n", ""),
    ("man", ".TP\n.B \\-\\-retry\n", ".TP\n.B \\-\\-again\nText.\n.TP\n.B \\-\\-retry\n"),
    ("man", ".TP\n.B \\-\\-retry\n", ".TP\n.B \\-\\-retry\nText.\n.TP\n.B \\-\\-retry\n"),
    ("man", '.BI \\-\\-sessions " N"', '.BI \\-\\-sessions " NUMBER"'),
    ("man", '.BR \\-V ", " \\-\\-version', ".B \\-V"),
    ("bash", " --retry", ""),
    ("bash", " --retry", " --retry --again"),
    ("bash", " --version'", "'"),
    ("zsh", "    '--retry[keep trying to make the first session]'\n", ""),
    ("zsh", "    '--retry[", "    '--again[again]'\n    '--retry["),
    ("zsh", "    $client\n    $common\n  )\n  connect=", "    $common\n  )\n  connect="),
    ("zsh", "{-V,--version}", "{-W,--version}"),
    ("fish", "forward' -l retry -d", "forward' -l again -d"),
    ("fish", "forward' -l retry -d", "connect forward' -l retry -d"),
    ("fish", "'__nitrosocks_command serve forward connect'", "'__nitrosocks_command serve forward'"),
    ("fish", "-s V -l version", "-l version"),
    # a command
    ("usage", "  demo     show", "  show     show"),
    ("usage", "  nitrosocks demo [--keep DIR] [-v]...\n", ""),
    ("man", ".TP\n.B demo\n", ""),
    ("man", ".TP\n.B demo\n", ".TP\n.B show\nText.\n.TP\n.B demo\n"),
    ("bash", "doctor demo -h", "doctor -h"),
    ("bash", " | demo)", " | show)"),
    ("zsh", "    'demo:show the tunnel at work'\n", ""),
    ("zsh", "    demo) _arguments", "    show) _arguments"),
    ("fish", "-a demo ", "-a show "),
    ("fish", "connect doctor demo\n", "connect doctor\n"),
    # an exit code
    ("usage", ", 78 configuration", ""),
    ("usage", "0 done", "0 done, 1 not done"),
    ("man", ".TP\n.B 78\n", ""),
    ("man", ".TP\n.B 78\n", ".TP\n.B 1\nText.\n.TP\n.B 78\n"),
]


@pytest.mark.parametrize(("document", "good", "bad"), BAD)
def test_a_difference_is_found(document: str, good: str, bad: str) -> None:
    assert good in TEXTS[document], "the sample is outdated"
    assert usage_texts.faults(**TEXTS | {document: TEXTS[document].replace(good, bad)}, codes=CODES)


def test_an_exit_code_of_the_program_that_is_not_told_is_found() -> None:
    for codes in (CODES | {"1"}, CODES - {"78"}):
        assert usage_texts.faults(**TEXTS, codes=codes)


def test_all_say_the_same() -> None:
    faults = usage_texts.faults(**TEXTS, codes=CODES)
    assert not faults, "\n" + "\n".join(faults)


def test_the_parsers_find_what_is_there() -> None:
    assert set(cli._COMMANDS) == COMMANDS
    assert {"-L", "-4", "-6", "--tls-verify", "--home"} < OPTIONS["forward"]
    assert OPTIONS[""] == {"-h", "--help", "-V", "--version"}


# The usage text and the program


def known(usage: str) -> dict[str, object]:
    return dict(docopt(usage, ["keygen"]))


def test_docopt_reads_the_same_words() -> None:
    words = {word for word in known(USAGE) if not word[0].isupper()}
    assert words == COMMANDS.union(*OPTIONS.values()) - {"-h", "-V"}


def test_no_option_has_a_value_by_itself() -> None:
    """docopt takes "[default: …]" in a description for a value, and the program could not tell that none was given."""
    bad = USAGE.replace("in turn", "in turn [default: none]")
    assert known(bad)["--server"]
    assert [word for word, value in known(USAGE).items() if value] == ["keygen"]


def test_every_option_that_the_program_reads_exists() -> None:
    sources = {path: path.read_text("utf-8") for path in (ROOT / "nitrosocks_lib" / "cli").glob("*.py")}
    read = {path: set(re.findall(r'options\["(.*?)"\]', source)) for path, source in sources.items()}
    assert {"--home", "--keep", "-L"} <= set().union(*read.values())
    for path, options in read.items():
        assert options <= set(known(USAGE)), path


@pytest.mark.parametrize(
    "line",
    [
        "", "unknown", "serve --cert chain.pem", "serve --key key.pem", "keygen alice", "keygen -o file", "forward",
        "connect", "connect -qN host.example:22", "demo -q",
    ],
)  # fmt: skip
def test_a_wrong_line_is_refused(line: str) -> None:
    with pytest.raises(DocoptExit):
        docopt(USAGE, line.split())


@pytest.mark.parametrize(
    "line",
    [
        "serve --cert chain.pem --key key.pem", "serve --listen :1 --listen :2 --home=/tmp/x -vvv -q",
        "keygen alice --server a:1 --server b:2 --permit c:3 --permit d:4 -o - --force",
        "forward -N -nT -L 1:a:2 -L3:b:4 -i x.profile --sessions 1 --retry", "connect host.example 22",
        "demo --keep /tmp/x",
    ],
)  # fmt: skip
def test_a_right_line_is_taken(line: str) -> None:
    assert docopt(USAGE, line.split())[line.partition(" ")[0]] is True


# The man page


def groff_warnings(page: Path) -> str:
    command = ["groff", "-man", "-Tutf8", "-ww", "-z", str(page)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stderr


def render(page: Path) -> subprocess.CompletedProcess[str]:
    environ = os.environ | {"LC_ALL": "C.UTF-8", "MANWIDTH": "1000", "MANPAGER": "cat", "GROFF_NO_SGR": "1"}
    return subprocess.run(
        ["man", "--warnings", "-l", str(page)], env=environ, capture_output=True, text=True, check=False
    )


needs_man = pytest.mark.skipif(not shutil.which("man"), reason="needs man")


@needs_man
@pytest.mark.parametrize("bad", [".BX text\n", ".SH \\*[nothing]\n", "\\[nothing]\n"])
def test_a_bad_man_page_is_found(tmp_path: Path, bad: str) -> None:
    page = tmp_path / "bad.1"
    page.write_text(TEXTS["man"] + bad)
    assert groff_warnings(page)


@needs_man
def test_man_takes_the_page() -> None:
    assert groff_warnings(MAN) == ""
    done = render(MAN)
    assert (done.returncode, done.stderr) == (0, "")
    synopsis = done.stdout.partition("\nSYNOPSIS\n")[2].partition("\nDESCRIPTION\n")[0]
    shown = [usage_texts.squeeze(line) for line in synopsis.splitlines() if line.strip()]
    assert shown == usage_texts.usage_lines(USAGE)


# The completions in their shells


@pytest.fixture(params=shells.SHELLS)
def shell(request: pytest.FixtureRequest) -> str:
    if not shutil.which(request.param):
        pytest.skip(f"needs {request.param}")
    return str(request.param)


def words(found: set[str]) -> set[str]:
    return {word for word in found if not word.startswith("-")}


def test_each_shell_offers_the_commands_and_their_options(shell: str, tmp_path: Path) -> None:
    assert words(shells.candidates(shell, "nitrosocks ", COMPLETIONS, tmp_path)) == COMMANDS
    assert shells.candidates(shell, "nitrosocks -", COMPLETIONS, tmp_path) == OPTIONS[""]
    for command in COMMANDS:
        assert shells.candidates(shell, f"nitrosocks {command} -", COMPLETIONS, tmp_path) == OPTIONS[command]


def test_a_bad_completion_is_found_by_its_shell(shell: str, tmp_path: Path) -> None:
    for path in COMPLETIONS.iterdir():
        bad = path.read_text("utf-8").replace("--retry", "--again").replace("-l retry", "-l again")
        (tmp_path / path.name).write_text(bad)
    offered = shells.candidates(shell, "nitrosocks forward -", tmp_path, tmp_path)
    assert offered ^ OPTIONS["forward"] == {"--retry", "--again"}


def test_arguments_are_completed(shell: str, tmp_path: Path) -> None:
    for name in ("alice.profile", "chain.pem"):
        (tmp_path / name).write_text("")
    (tmp_path / "keys").mkdir()

    def offered(line: str) -> set[str]:
        found = shells.candidates(shell, f"nitrosocks {line}", COMPLETIONS, tmp_path)
        return {word.rpartition("=")[2].rstrip("/") for word in found}

    assert {specs.cipher(name) for name in offered("serve --cipher ")} == set(EncryptType)
    assert offered("serve --cipher=aes-1") == {"aes-128-gcm"}
    assert offered("serve --cert ch") == {"chain.pem"}
    assert offered("forward -i a") == {"alice.profile"}
    assert offered("serve --home k") == {"keys"}
    assert offered("keygen serve --f") == {"--force"}
