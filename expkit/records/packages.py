"""The versions of the packages that a run and its plugins import."""

import sys
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType

# Packages whose version may change the numbers of a run.
COMPUTING = (
    "torch", "torchvision", "numpy", "pillow", "simplejpeg", "torchmetrics", "timm", "datasets", "scipy", "kornia",
    "albumentations", "cv2", "scikit-image", "scikit-learn",
)  # fmt: skip
_ALWAYS = (*COMPUTING[:6], "hydra-core", "omegaconf", "pyyaml", "safetensors", "tensorboardX", "expkit")
# Modules whose distribution has another name. (importlib.metadata.packages_distributions takes a second: it reads the
# file list of every installed package.)
_NAMES = {
    "PIL": "pillow", "yaml": "pyyaml", "hydra": "hydra-core", "sklearn": "scikit-learn", "skimage": "scikit-image",
    "dateutil": "python-dateutil", "attr": "attrs", "bs4": "beautifulsoup4", "google.protobuf": "protobuf",
    "lightning_fabric": "lightning-fabric", "git": "GitPython", "dotenv": "python-dotenv", "mlflow": "mlflow-skinny",
}  # fmt: skip


def package_versions() -> dict[str, str | None]:
    """Return name -> version of the packages that every run needs, and of all others that are imported."""
    found = {name: installed_version(name) for name in _ALWAYS}
    for name, module in sorted(sys.modules.items()):
        if "." in name or name.startswith("_") or name in sys.stdlib_module_names or not _is_package(module):
            continue
        known = _NAMES.get(name, name)
        if known not in found and (here := installed_version(known) or _own_version(module)):
            found[known] = here
    return found


def installed_version(name: str) -> str | None:
    """Return the version of a package, or else of an imported module of this name; None without either."""
    try:
        return version(name)
    except (PackageNotFoundError, ValueError):
        return _own_version(sys.modules[name]) if name in sys.modules else None


def _is_package(module: ModuleType) -> bool:
    return bool(getattr(module, "__file__", None) or getattr(module, "__path__", None))


def _own_version(module: ModuleType) -> str | None:
    """Return the `__version__` of an installed module."""
    own = getattr(module, "__version__", None)
    is_installed = "-packages" in str(getattr(module, "__file__", ""))
    return own if is_installed and isinstance(own, str) else None
