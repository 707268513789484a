"""Console entry of NitroSocks; everything else is in nitrosocks_lib."""

import sys
from importlib.util import find_spec

PACKAGES = {"cryptography": "cryptography", "pyotp": "pyotp", "tomli_w": "tomli-w", "docopt": "docopt-ng"}


def main() -> int:
    """Run the command line and return its exit code: 70 where a package that it needs is missing or too old."""
    try:
        from nitrosocks_lib.face import cli

        return cli.main(sys.argv[1:])
    except ImportError as error:
        module = (error.name or "").partition(".")[0]
        if module not in PACKAGES:
            raise
        what, pip = ("is missing; install", "") if find_spec(module) is None else ("is too old; upgrade", "--upgrade ")
        name = PACKAGES[module]
        fault = f"the Python package '{name}' {what} it with: python3 -m pip install {pip}{name}"
        print(f"nitrosocks: {fault}", file=sys.stderr)
        return 70


if __name__ == "__main__":
    raise SystemExit(main())
