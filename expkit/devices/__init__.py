"""Where a run computes, and in which precision."""

from expkit.devices.placement import Device, DeviceOptions

__all__ = ["Device", "DeviceOptions"]
