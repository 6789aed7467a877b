"""What a bundle holds for a chip: memory images, and the report of the mapping."""

from __future__ import annotations

from snn_temporal_plugins.export.bundle.chip import PEDescriptor
from snn_temporal_plugins.export.bundle.format import dump_json
from snn_temporal_plugins.export.bundle.integer import IntegerNetwork
from snn_temporal_plugins.export.bundle.mapping import map_network
from snn_temporal_plugins.export.bundle.memory import memory_images

__all__ = ["chip_files"]


def chip_files(network: IntegerNetwork, chip: PEDescriptor) -> dict[str, bytes]:
    """Memory images of all PEs and `reports/mapping.json`.

    Args:
        network: the network.
        chip: where it runs.

    Returns:
        Names in the bundle, and contents.

    Raises:
        MappingError: if the network does not fit on the chip.
    """
    mapping = map_network(network, chip)
    images = memory_images(mapping)
    files = {f"mem/{name}": content for name, content in images.items()}
    return files | {"reports/mapping.json": dump_json(mapping.report())}
