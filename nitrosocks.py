"""Console entry of NitroSocks; everything else is in nitrosocks_lib."""

import sys

PACKAGES = {
    "cryptography": "cryptography",
    "pyotp": "pyotp",
    "tomli_w": "tomli-w",
    "docopt": "docopt-ng",
    "websockets": "websockets",
}


def main() -> int:
    """Run the command line and return its exit code: 70 where a package is missing or too old, 130 after SIGINT."""
    try:
        from nitrosocks_lib.cli import main as cli

        return cli.main(sys.argv[1:])
    except KeyboardInterrupt:
        return 130
    except ImportError as error:
        from importlib.util import find_spec

        module = (error.name or "").partition(".")[0]
        if module not in PACKAGES:
            raise
        what, pip = ("is missing; install", "") if find_spec(module) is None else ("is too old; upgrade", "--upgrade ")
        name = PACKAGES[module]
        fault = f"the Python package '{name}' {what} it with: python3 -m pip install {pip}{name}"
        if sys.stderr is not None:  # else descriptor 2 may be anything
            from nitrosocks_lib.net.lines import STDERR

            STDERR.put(f"nitrosocks: {fault}\n")
            STDERR.flush()
        return 70


if __name__ == "__main__":
    raise SystemExit(main())
