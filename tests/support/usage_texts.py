"""What the usage text, the man page and the completions say about the command line, as values to compare.

A document is its text; `faults` gets all of them by name. The command "" stands for what comes without a command.
"""

import re
import shlex
from collections.abc import Iterator

Options = dict[str, set[str]]  # by command

DOCUMENTS = {
    "man": "man/nitrosocks.1",
    "bash": "completions/nitrosocks.bash",
    "zsh": "completions/_nitrosocks",
    "fish": "completions/nitrosocks.fish",
}
OPTION = re.compile(r"(?<![\w-])--?[A-Za-z0-9][\w-]*")


def squeeze(text: str) -> str:
    return " ".join(text.split())


def rows(text: str) -> list[str]:
    """The left column of a section; its right one is two blanks away, or on a line of its own."""
    found = re.findall(r"^  (\S.*?)(?:  .*)?$", text, re.MULTILINE)
    return [squeeze(left.replace(",", "")) for left in found]


# The usage text


def usage_section(usage: str, name: str) -> str:
    return usage.partition(f"\n{name}:")[2].partition("\n\n")[0]


def usage_lines(usage: str) -> list[str]:
    joined = re.sub(r"\n {4,}", " ", usage_section(usage, "Usage"))
    return [squeeze(line) for line in joined.splitlines() if line.strip()]


def options_of_lines(lines: list[str]) -> Options:
    found: Options = {}
    for line in lines:
        word = line.split()[1]
        found.setdefault(word if word.isalpha() else "", set()).update(OPTION.findall(line))
    return found


def usage_options(usage: str) -> Options:
    return options_of_lines(usage_lines(usage))


def usage_codes(usage: str) -> set[str]:
    return set(re.findall(r"\b\d+\b", usage_section(usage, "Exit codes")))


# The man page


def plain(roff: str) -> str:
    """Text without fonts and escapes."""
    text = re.sub(r"\\f[BIPR]|\\&", "", roff)
    return text.replace("\\-", "-").replace("\\ ", " ").replace("\\(aq", "'")


def man_section(man: str, name: str) -> str:
    return man.partition(f"\n.SH {name}\n")[2].partition("\n.SH ")[0]


def macro(line: str) -> str:
    """The text of a line whose macro sets fonts: those of two fonts join their words, the others do not."""
    name, _, words = line.partition(" ")
    if not name.startswith("."):
        return plain(line)
    return plain(("" if len(name) == 3 else " ").join(shlex.split(words.replace("\\", "\\\\"))))


def man_lines(man: str) -> list[str]:
    found = man_section(man, "SYNOPSIS").split(".SY ")[1:]
    return [squeeze(plain(line.partition(".YS")[0])) for line in found]


def man_tags(man: str, section: str) -> list[str]:
    lines = man_section(man, section).splitlines()
    return [macro(tag).replace(",", "") for before, tag in zip(lines, lines[1:], strict=False) if before == ".TP"]


# The completions


def bash_options(text: str) -> Options:
    cases = re.findall(r"^ +(''|\w+)\) options='(.*)' ;;$", text, re.MULTILINE)
    return {command.strip("'"): set(OPTION.findall(options)) for command, options in cases}


def bash_commands(text: str) -> list[set[str]]:
    """As they are offered, and as they are recognised on the line."""
    offered = re.search(r"^ +''\) options='(.*)' ;;$", text, re.MULTILINE)
    known = re.search(r"^ +(\w+(?: \| \w+)+)\)$", text, re.MULTILINE)
    assert offered and known, "nitrosocks.bash is written another way now"
    return [{word for word in offered[1].split() if word[0] != "-"}, set(known[1].split(" | "))]


def zsh_arrays(text: str) -> dict[str, str]:
    return dict(re.findall(r"^  (\w+)=\(\n(.*?)^  \)$", text, re.MULTILINE | re.DOTALL))


def zsh_options(text: str) -> Options:
    arrays = zsh_arrays(text)
    commands = arrays.pop("commands")

    def own(body: str) -> set[str]:
        found = set(re.findall(r"^    '(?:\*|\([^)]*\))?(--?[\w-]+)[=+]?\[", body, re.MULTILINE))
        return found.union(*(own(arrays[name]) for name in re.findall(r"^    \$(\w+)$", body, re.MULTILINE)))

    named = re.findall(r"^    '(\w+):", commands, re.MULTILINE)
    top = re.findall(r"'\{(-\w),(--\w+)\}'", text)
    return {name: own(arrays[name]) for name in named} | {"": {option for pair in top for option in pair}}


def zsh_commands(text: str) -> list[set[str]]:
    offered = set(re.findall(r"^    '(\w+):", zsh_arrays(text)["commands"], re.MULTILINE))
    return [offered, set(re.findall(r"^    (\w+)\) _arguments -s", text, re.MULTILINE))]


def fish_lines(text: str) -> Iterator[tuple[list[str], list[str]]]:
    """The commands of each `complete` line, and what it offers there: options, or a command."""
    for line in text.splitlines():
        words = shlex.split(line, comments=True)
        if words[:4] != ["complete", "-c", "nitrosocks", "-n"]:
            continue
        given = list(zip(words, words[1:], strict=False))
        short, long = ([value for flag, value in given if flag == name] for name in ("-s", "-l"))
        offered = [f"-{value}" for value in short] + [f"--{value}" for value in long]
        yield words[4].split()[1:] or [""], offered or [value for flag, value in given if flag == "-a"]


def fish_options(text: str) -> Options:
    found: Options = {}
    for commands, offered in fish_lines(text):
        for command in commands:
            found.setdefault(command, set()).update(word for word in offered if word.startswith("-"))
    return found


def fish_commands(text: str) -> list[set[str]]:
    offered = {word for commands, words in fish_lines(text) if commands == [""] for word in words if word[0] != "-"}
    known = re.search(r"contains -- \$word ((?:\w+ ?)+)$", text, re.MULTILINE)
    assert known, "nitrosocks.fish is written another way now"
    return [offered, set(known[1].split())]


# Against each other


def differences(where: str, wanted: set[str], found: set[str]) -> list[str]:
    missing = [f"{where} lacks {word!r}" for word in sorted(wanted - found)]
    return missing + [f"{where} has {word!r}, which the usage text lacks" for word in sorted(found - wanted)]


def faults(usage: str, man: str, bash: str, zsh: str, fish: str, codes: set[str]) -> list[str]:
    """What one of them says and another does not; `codes` are the exit codes that the program uses."""
    options, described = usage_options(usage), rows(usage_section(usage, "Options"))
    commands = {command for command in options if command}
    used, named = set().union(*options.values()), set(OPTION.findall(" ".join(described)))
    out = differences("the usage text, Commands,", commands, set(rows(usage_section(usage, "Commands"))))
    out += differences("the usage text, Options,", used, named)
    out += differences("the program, exit codes,", usage_codes(usage), codes)
    out += differences("man, SYNOPSIS,", set(usage_lines(usage)), set(man_lines(man)))
    out += differences("man, COMMANDS,", commands, set(man_tags(man, "COMMANDS")))
    out += differences("man, EXIT STATUS,", usage_codes(usage), set(man_tags(man, "EXIT STATUS")))
    tags = man_tags(man, "OPTIONS")
    out += differences("man, OPTIONS,", set(described), set(tags))
    out += [f"man, OPTIONS, has {tag!r} twice" for tag in set(tags) if tags.count(tag) > 1]
    completions = (
        ("bash", bash_options(bash), bash_commands(bash)),
        ("zsh", zsh_options(zsh), zsh_commands(zsh)),
        ("fish", fish_options(fish), fish_commands(fish)),
    )
    for shell, offered, places in completions:
        for place in places:
            out += differences(f"{shell}, commands,", commands, place)
        for command in sorted({*options, *offered}):
            wanted, found = options.get(command, set()), offered.get(command, set())
            out += differences(f"{shell}, options of {command!r},", wanted, found)
    return out
