"""Asks the real shells what they would offer: `candidates` presses the tab key behind a line, without a terminal.

zsh completes in its line editor only, so it gets a pseudo terminal; nobody types there, its own start does it all.
"""

import os
import subprocess
from pathlib import Path

SHELLS = ("bash", "zsh", "fish")
SECONDS = 60  # a shell that hangs fails the test

BASH = r"""
source "$1/nitrosocks.bash"
complete -p nitrosocks >/dev/null || exit 1
line=$2
read -ra COMP_WORDS <<<"${line//=/ = }"
[[ $line == *" " ]] && COMP_WORDS+=("")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1)) COMP_LINE=$line COMP_POINT=${#line}
set -u
_nitrosocks
for word in ${COMPREPLY[@]+"${COMPREPLY[@]}"}; do printf '%s\n' "$word"; done
"""

FISH = 'source "$argv[1]/nitrosocks.fish"; or exit 1; complete -C "$argv[2]"'

# compadd is what every zsh completion ends in. The first prompt completes the line, then runs `exit`.
ZSHRC = r"""
fpath=($COMPLETIONS $fpath)
autoload -Uz compinit && compinit -u -D
LISTMAX=10000  # it does not ask whether to show so many
compadd() {
  local -a hits
  builtin compadd -O hits "$@"
  (( $#hits )) && print -rl -- $hits >> $OFFERED
  builtin compadd "$@"
}
zle-line-init() {
  BUFFER=$LINE CURSOR=$#LINE
  zle complete-word
  BUFFER=exit
  zle accept-line
}
zle -N zle-line-init
"""


def candidates(shell: str, line: str, completions: Path, folder: Path) -> set[str]:
    """What `shell` offers behind `line`, in the empty or prepared `folder`."""
    environ = {"PATH": os.environ["PATH"], "HOME": str(folder), "LC_ALL": "C.UTF-8", "TERM": "dumb"}
    if shell == "zsh":
        return _zsh(line, completions, folder, environ)
    script = {"bash": [BASH, "bash"], "fish": [FISH]}[shell]
    quiet = {"bash": "--norc", "fish": "--no-config"}[shell]
    done = subprocess.run(
        [shell, quiet, "-c", *script, str(completions), line],
        cwd=folder, env=environ, capture_output=True, text=True, check=True, timeout=SECONDS,
    )  # fmt: skip
    assert not done.stderr, done.stderr
    return {word.partition("\t")[0] for word in done.stdout.splitlines()}


def _zsh(line: str, completions: Path, folder: Path, environ: dict[str, str]) -> set[str]:
    offered, home = folder / ".offered", folder / ".zsh"
    home.mkdir(exist_ok=True)
    (home / ".zshrc").write_text(ZSHRC)
    offered.write_text("")
    environ |= {"ZDOTDIR": str(home), "COMPLETIONS": str(completions), "OFFERED": str(offered), "LINE": line}
    screen, terminal = os.openpty()
    try:
        subprocess.run(
            ["zsh", "-d", "-i"], stdin=terminal, stdout=terminal, stderr=terminal,
            cwd=folder, env=environ, start_new_session=True, check=True, timeout=SECONDS,
        )  # fmt: skip
    finally:
        os.close(terminal)
        os.close(screen)
    return set(offered.read_text().splitlines())
