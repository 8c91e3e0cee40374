"""Where the package's config files lie."""

from pathlib import Path


def conf_folder() -> Path:
    """Return the package's conf: the one of the checkout, or the copy in the installed package."""
    package = Path(__file__).resolve().parents[1]
    checkout = package.parent / "conf"
    return checkout if (checkout / "config.yaml").is_file() else package / "conf"
