"""The version of this package."""


def package_version() -> str:
    """Return the installed version, or "unknown" for a checkout that is on the path and not installed."""
    from importlib.metadata import PackageNotFoundError, version  # takes longer than all else that completion needs

    try:
        return version("expkit")
    except PackageNotFoundError:
        return "unknown"
