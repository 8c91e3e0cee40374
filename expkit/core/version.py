"""The version of this package, and how a package that depends on Python's version is installed."""

import sys
from importlib.metadata import PackageNotFoundError, version


def package_version() -> str:
    """Return the installed version, or "unknown" for a checkout that is on the path and not installed."""
    try:
        return version("expkit")
    except PackageNotFoundError:
        return "unknown"


def visdom_install_command() -> str:
    """Return how visdom is installed. What Python 3.11 gets is built, and imports what setuptools 81 took out."""
    if sys.version_info >= (3, 12):
        return "install it with: pip install 'expkit[visdom]'"
    build = "pip install --no-build-isolation 'visdom<0.3' 'tornado<6.6'"
    return f"install it with: pip install 'setuptools<81' wheel && {build}"
