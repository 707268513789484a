"""Package NitroSocks. Tool settings are in pyproject.toml."""

import ast
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent


def version() -> str:
    """Read `__version__` from the package's source: importing it would need what is not installed yet."""
    for node in ast.parse((HERE / "nitrosocks_lib" / "__init__.py").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__version__":
            return str(ast.literal_eval(node.value))
    raise SystemExit("setup.py: nitrosocks_lib/__init__.py has no __version__")


setup(
    name="nitrosocks",
    version=version(),
    description="An end-to-end encrypted tunnel inside TLS that it does not have to trust",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    license_files=["LICENSE"],
    author="The NitroSocks authors",
    keywords="tunnel tls middlebox interception proxy post-quantum ssh proxycommand port-forwarding",
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: Console",
        "Intended Audience :: End Users/Desktop",
        "Intended Audience :: System Administrators",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3 :: Only",
        *(f"Programming Language :: Python :: 3.{minor}" for minor in (11, 12, 13)),
        "Topic :: Internet :: Proxy Servers",
        "Topic :: Security :: Cryptography",
        "Typing :: Typed",
    ],
    python_requires=">=3.11",
    install_requires=["cryptography>=50", "pyotp", "tomli-w", "docopt-ng", "h11>=0.16", "websockets>=13"],
    extras_require={"sso": ["pyspnego"]},  # NTLM and Negotiate at a proxy; Kerberos needs pyspnego[kerberos]
    py_modules=["nitrosocks"],
    packages=find_packages(include=["nitrosocks_lib", "nitrosocks_lib.*"]),
    package_data={"nitrosocks_lib": ["py.typed"]},
    data_files=[
        ("share/man/man1", ["man/nitrosocks.1"]),
        ("share/bash-completion/completions", ["completions/nitrosocks.bash"]),
        ("share/zsh/site-functions", ["completions/_nitrosocks"]),
        ("share/fish/vendor_completions.d", ["completions/nitrosocks.fish"]),
        ("lib/systemd/system", ["packaging/nitrosocks.service"]),
        ("share/nitrosocks", ["packaging/nitrosocks.sysusers"]),
    ],
    entry_points={"console_scripts": ["nitrosocks = nitrosocks:main"]},
)
