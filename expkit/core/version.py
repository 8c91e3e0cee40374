"""The version of this package."""

from importlib.metadata import PackageNotFoundError, version


def package_version() -> str:
    """Return the installed version, or "unknown" for a checkout that is on the path and not installed."""
    try:
        return version("expkit")
    except PackageNotFoundError:
        return "unknown"
