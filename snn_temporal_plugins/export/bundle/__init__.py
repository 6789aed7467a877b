"""The ttfs-bundle: integers, their emulator, and the open format on disk (SPEC.md)."""
