"""python tests/extras.py EXTRA: whether what an extra installs is there and works; used by the workflow.

It needs nothing but expkit with that extra.
"""

import importlib
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

# What each extra is for: the packages that expkit imports.
PACKAGES = {
    "visdom": ("visdom", "visdom.server.app"),
    "mlflow": ("mlflow.tracking", "sqlalchemy", "alembic"),
    "wandb": ("wandb",),
    "coco": ("pycocotools.coco", "pycocotools.mask"),
    "lsun": ("lmdb",),
    "region": ("nvidia.nvimgcodec",),
    "doctor": ("imagehash",),
    "huggingface": ("datasets",),
    "timm": ("timm",),
    "optuna": ("optuna", "cmaes"),
    "slurm": ("hydra_plugins.hydra_submitit_launcher.submitit_launcher",),
    "ray": ("ray", "hydra_plugins.hydra_ray_launcher.ray_launcher"),
    "export": ("onnx", "onnxscript", "onnxruntime"),
}
NOT_IN_ALL = {"slurm", "ray"} | ({"visdom"} if sys.version_info < (3, 12) else set())
RUN = ["dataset.size=32", "dataset.train_images=20", "dataset.val_images=10", "model.width=4", "epochs=1"]


def packages_of(extra: str) -> tuple[str, ...]:
    if extra == "all":
        return tuple(one for name, found in PACKAGES.items() if name not in NOT_IN_ALL for one in found)
    return PACKAGES[extra]


def serve_visdom() -> None:
    """Start the Visdom server, and end it as Ctrl+C does."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "expkit", "visdom", "--port", str(port), "--folder", folder]
        server = subprocess.Popen(command)
        try:
            for _ in range(1200):
                try:
                    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10):
                        break
                except OSError:
                    assert server.poll() is None, "the Visdom server ended"
                    time.sleep(0.1)
            server.send_signal(signal.SIGINT)
            assert server.wait(60) == 130
        finally:
            server.kill()
            server.wait()


def main() -> None:
    extra = sys.argv[1]
    for name in packages_of(extra):
        importlib.import_module(name)
        print(f"{name}: imported")
    if "visdom" in packages_of(extra):
        serve_visdom()
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "expkit.run", *RUN, f"output_dir={folder}"], cwd=folder, check=True)


if __name__ == "__main__":
    main()
