"""How optional packages are installed."""

import sys


def visdom_install_command() -> str:
    """Return how visdom is installed. On Python 3.11 it is built from source, which setuptools 81 no longer can."""
    if sys.version_info >= (3, 12):
        return "install it with: pip install 'expkit[visdom]'"
    build = "pip install --no-build-isolation 'visdom<0.3' 'tornado<6.6'"
    return f"install it with: pip install 'setuptools<81' wheel && {build}"
