"""Mean and standard deviation over seeds, of tables of any shape."""

import statistics
from typing import Any


def leaves(entry: dict[str, Any], path: str = "") -> dict[str, float]:
    """The numbers in nested dictionaries by path, such as `ratio/close/latency`."""
    found = {}
    for name, value in entry.items():
        if isinstance(value, dict):
            found |= leaves(value, f"{path}{name}/")
        elif isinstance(value, int | float):
            found[path + name] = value
    return found


def summary(seeds: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Mean and standard deviation of all that every seed has."""
    tables = [leaves({k: v for k, v in seed.items() if k != "seed"}) for seed in seeds]
    means = {}
    for name in tables[0]:
        values = [table[name] for table in tables if name in table]
        if len(values) == len(tables):
            sd = statistics.stdev(values) if len(values) > 1 else 0.0
            means[name] = {"mean": statistics.mean(values), "sd": sd}
    return means
