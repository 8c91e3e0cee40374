"""Where a run computes, on how many devices, and in which precision."""

from expkit.devices.device import Device, DeviceOptions
from expkit.devices.model_parallel import Split
from expkit.devices.process_group import Ranks
from expkit.devices.topology import Layout

__all__ = ["Device", "DeviceOptions", "Layout", "Ranks", "Split"]
