"""The commands: one table (`main`), one small file each."""
