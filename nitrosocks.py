"""Console entry of NitroSocks; everything else is in nitrosocks_lib. Old interpreters must be able to read it."""

import gc
import sys

try:
    import signal
except KeyboardInterrupt:  # it takes a while, and what comes before this file is the interpreter's own
    raise SystemExit(130) from None

NEEDS = (3, 11)


def main() -> int:
    """Run the command line and return its exit code: 70 where Python or a package is missing or too old, 130 after
    SIGINT."""
    if sys.version_info < NEEDS:
        if sys.stderr is not None:  # else descriptor 2 may be anything
            found = (*NEEDS, sys.executable, *sys.version_info)
            sys.stderr.write("nitrosocks: needs Python {}.{} or newer, and {} is {}.{}\n".format(*found))
        return 70
    try:
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # quiet, while nothing has begun; commands have their own
        if sys.argv[1:] in (["-V"], ["--version"]) and _tell_version():
            return 0
        gc.disable()  # what is imported stays: to look for garbage in it takes a seventh of that time
        from nitrosocks_lib.cli import main as cli

        return cli.main(sys.argv[1:])
    except KeyboardInterrupt:
        return 130
    except ImportError as error:
        from nitrosocks_lib.cli.packages import fault

        told = fault(error)
        if not told:
            raise
        if sys.stderr is not None:
            from nitrosocks_lib.net.lines import STDERR

            STDERR.put(f"nitrosocks: {told}\n")
            STDERR.flush()
        return 70


def _tell_version() -> bool:
    """At once, before anything else is imported; False where it cannot be written: the command line says why."""
    from nitrosocks_lib import __version__

    try:
        print("nitrosocks " + __version__, flush=True)
    except OSError:
        return False
    return sys.stdout is not None


if __name__ == "__main__":
    raise SystemExit(main())
