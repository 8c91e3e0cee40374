"""Where a run computes, on how many devices, and in which precision."""

from expkit.devices.layout import Layout
from expkit.devices.placement import Device, DeviceOptions
from expkit.devices.ranks import Ranks
from expkit.devices.splitting import Split

__all__ = ["Device", "DeviceOptions", "Layout", "Ranks", "Split"]
