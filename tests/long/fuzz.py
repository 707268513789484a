"""Gives every parser of ours inputs that were changed at random, and prints what came of it.

    python tests/long/fuzz.py [--parser NAME]… [--count N] [--seconds S] [--workers N] [--keep]
    python tests/long/fuzz.py --atheris [--parser NAME]… …      coverage decides which inputs are kept; needs atheris

Exits 1 where a parser raised what is not one of its errors, or memory grew. `--keep` adds the inputs that were answered
in a new way, or with atheris those that reached new lines, to tests/lab/corpus.
"""

from __future__ import annotations

import argparse
import random
import re
import resource
import subprocess
import sys
import tempfile
import warnings
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from time import monotonic, process_time

sys.path[:0] = [str(Path(__file__).resolve().parents[2]), str(Path(__file__).resolve().parents[1] / "support")]

MIB = 1 << 20
GROWTH = 32 * MIB  # more between the first tenth of a run and its end is a leak
KEPT_SIZE, KEPT = 2_048, 60  # bytes of an input that is kept, and how many of a parser


def resident() -> int:
    """Bytes of this process in memory, now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def fuzz(name: str, count: int, seconds: float, seed: int, keeps: bool) -> tuple[str, list[str]]:
    """One parser in this process; its figures, and what is wrong."""
    from fuzzing import Seen, corpus, keep, mutated, outcome
    from parsers import PARSERS

    warnings.simplefilter("ignore")
    parser, source, faults = PARSERS[name], random.Random(seed), dict[str, str]()
    done, slowest, before, began = 0, (0.0, 0), 0, monotonic()
    with parser.within():
        kept = corpus(name)
        seen = Seen([*parser.seeds, *kept])
        for data in seen.inputs.copy():
            seen.look(outcome(parser, data), data)
        known = len(seen.new)
        while done < count and monotonic() - began < seconds and len(faults) < 5:
            data, at = mutated(source, seen.inputs, parser.tokens), process_time()
            try:
                seen.look(outcome(parser, data), data)
            except Exception as error:
                faults.setdefault(f"{type(error).__name__}: {error}"[:200], repr(data[:400]))
            slowest = max(slowest, (process_time() - at, len(data)))
            done += 1
            if not before and (done >= count // 10 or monotonic() - began > seconds / 10):
                before = resident()
        if keeps:
            keep(name, pruned([*corpus(name), *seen.new]))
    grown = resident() - (before or resident())
    figures = (
        f"{name}: {done:,} inputs in {monotonic() - began:.0f} s; {len(seen.new) - known} new ways;"
        f" slowest {slowest[0] * 1000:.1f} ms of CPU ({slowest[1]:,} bytes); memory {grown / MIB:+.1f} MiB"
    )
    wrong = [f"{name}: {fault} for {data}" for fault, data in faults.items()]
    return figures, wrong + ([f"{name}: memory grew by {grown / MIB:.1f} MiB"] if grown > GROWTH else [])


def pruned(inputs: list[bytes]) -> list[bytes]:
    """The small ones; of many, every n-th."""
    small = sorted({each for each in inputs if len(each) <= KEPT_SIZE}, key=lambda each: (len(each), each))
    return small[:: -(-len(small) // KEPT)] if small else []


def guided(name: str, count: int, seconds: float, seed: int, keeps: bool) -> tuple[str, list[str]]:
    """One parser under atheris, in a process of its own."""
    from fuzzing import SIZE_MAX, corpus, keep
    from parsers import PARSERS

    with tempfile.TemporaryDirectory() as place:
        found, artifacts = Path(place, "found"), Path(place, "faults")
        found.mkdir(), artifacts.mkdir()
        kept = [*PARSERS[name].seeds, *corpus(name)]
        for number, data in enumerate(kept):
            Path(found, str(number)).write_bytes(data)
        words = [f"-runs={count}", f"-max_total_time={seconds:.0f}", f"-seed={seed}", f"-max_len={SIZE_MAX}"]
        words += ["-print_final_stats=1", "-rss_limit_mb=0", f"-artifact_prefix={artifacts}/", str(found)]
        began = monotonic()
        told = subprocess.run([sys.executable, __file__, "--child", name, *words], capture_output=True, check=False)
        said, took = told.stderr.decode("utf-8", "replace"), monotonic() - began
        stats = dict(re.findall(r"stat::(\w+):\s+(\d+)", said))
        wrong = [f"{name}: {said[-1500:]} for {path.read_bytes()[:400]!r}" for path in artifacts.iterdir()]
        wrong += [f"{name}: {said[-800:]}"] if told.returncode and not wrong else []
        news = [path.read_bytes() for path in found.iterdir()]
        if keeps:
            keep(name, pruned(news))
    figures = (
        f"{name}: {int(stats.get('number_of_executed_units', 0)):,} inputs in {took:.0f} s;"
        f" {len(news) - len(set(kept))} reached new lines; slowest {stats.get('slowest_unit_time_sec')} s;"
        f" peak {stats.get('peak_rss_mb')} MiB"
    )
    return figures, wrong


def child(name: str, words: list[str]) -> None:
    """Runs libFuzzer; does not return."""
    import atheris  # not among our dependencies: it is for this run alone

    with atheris.instrument_imports(include=["nitrosocks_lib", "tomllib", "docopt", "email"]):
        from parsers import PARSERS
    warnings.simplefilter("ignore")
    parser = PARSERS[name]

    def one(data: bytes) -> None:
        try:
            parser.parse(bytes(data))
        except parser.errors:
            return

    with parser.within():
        atheris.Setup([sys.argv[0], *words], one)
        atheris.Fuzz()


def main() -> int:
    """Runs them, says what failed, and returns the exit code."""
    from parsers import PARSERS

    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--parser", action="append", choices=list(PARSERS), help="only this one; may be repeated")
    options.add_argument("--count", type=int, default=1_000_000, help="inputs of each parser")
    options.add_argument("--seconds", type=float, default=600.0, help="the same, in time: whichever is first")
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--workers", type=int, default=2, help="processes")
    options.add_argument("--atheris", action="store_true", help="guided by coverage")
    options.add_argument("--keep", action="store_true", help="add to the corpus")
    given, wrong = options.parse_args(), list[str]()
    work = guided if given.atheris else fuzz
    with ProcessPoolExecutor(given.workers, max_tasks_per_child=1) as pool:
        names = given.parser or list(PARSERS)
        runs = [pool.submit(work, name, given.count, given.seconds, given.seed, given.keep) for name in names]
        for run in runs:
            figures, faults = run.result()
            print(figures, flush=True)
            wrong += faults
    for fault in wrong:
        print(f"FAILED: {fault}")
    return 1 if wrong else 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], sys.argv[3:])
    raise SystemExit(main())
