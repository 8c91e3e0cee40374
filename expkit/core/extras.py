"""How optional packages are installed."""

import sys


def visdom_install_command() -> str:
    """Return how visdom is installed. What Python 3.11 gets is built, and imports what setuptools 81 took out."""
    if sys.version_info >= (3, 12):
        return "install it with: pip install 'expkit[visdom]'"
    build = "pip install --no-build-isolation 'visdom<0.3' 'tornado<6.6'"
    return f"install it with: pip install 'setuptools<81' wheel && {build}"
