"""A program of one training step as one writes it by hand with Hydra and torch; tests/bench/startup.py times it.

python tests/bench/by_hand.py root=FOLDER hydra.run.dir=FOLDER     FOLDER holds train/ and val/, a folder a class each
"""

from dataclasses import dataclass
from pathlib import Path

import hydra
import torch
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from torch import nn
from torch.utils.data import DataLoader
from torch.utils.tensorboard import SummaryWriter
from torchvision import datasets, models
from torchvision.transforms import v2


@dataclass
class Options:
    root: str = "data"
    model: str = "squeezenet1_1"
    lr: float = 0.001
    batch_size: int = 32


ConfigStore.instance().store("options", Options)


@hydra.main(version_base=None, config_name="options")
def main(options: Options) -> None:
    pixels = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.5] * 3, [0.25] * 3)]
    train = datasets.ImageFolder(f"{options.root}/train", v2.Compose([v2.RandomHorizontalFlip(), *pixels]))
    val = datasets.ImageFolder(f"{options.root}/val", v2.Compose(pixels))
    model = models.get_model(options.model, num_classes=len(train.classes))
    optimizer, loss_of = torch.optim.AdamW(model.parameters(), lr=options.lr), nn.CrossEntropyLoss()
    folder = Path(HydraConfig.get().runtime.output_dir)
    writer = SummaryWriter(str(folder))
    images, targets = next(iter(DataLoader(train, options.batch_size, shuffle=True)))
    loss = loss_of(model(images), targets)
    loss.backward()
    optimizer.step()
    writer.add_scalar("train/loss", loss.item(), 1)
    model.eval()
    correct = 0
    with torch.no_grad():
        for images, targets in DataLoader(val, options.batch_size):
            correct += int((model(images).argmax(1) == targets).sum())
    writer.add_scalar("val/accuracy", correct / len(val), 1)
    writer.close()
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, folder / "checkpoint.pt")
    print(f"loss {loss.item():.4f}, accuracy {correct / len(val):.4f}")


if __name__ == "__main__":
    main()
