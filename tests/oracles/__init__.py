"""Slow references, written straight from the equations."""
