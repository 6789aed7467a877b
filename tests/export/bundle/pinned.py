"""The published SHA-256 of what is the same in every bundle of a version.

    python -m tests.export.bundle.pinned

writes those of the present version into `pinned.json`.
"""

import hashlib
import json
from pathlib import Path

from snn_temporal_plugins.export.bundle import format as bundle_format

FILE = Path(__file__).with_name("pinned.json")


def main():
    versions = json.loads(FILE.read_text()) if FILE.exists() else {}
    versions[bundle_format.SPEC_VERSION] = {
        name: hashlib.sha256(content).hexdigest()
        for name, content in bundle_format.pinned_files(chip=True).items()
    }
    FILE.write_text(json.dumps(versions, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
