"""A trained network on the 10,000 test images of MNIST, as hardware would run it.

    python examples/trained_mnist.py                        # 784-400-10, 5 bits
    python examples/trained_mnist.py --network mnist_cnn_stdbp
    python examples/trained_mnist.py --root FOLDER          # or --download

The networks come with the repository (examples/trained/), the images do not: they lie
in FOLDER, or in the folder that the environment variable SNN_TEMPORAL_MNIST names, or
`--download` fetches them. Without images the golden cases of the bundle are all that
is run.
"""

import argparse
from pathlib import Path

import numpy as np

from snn_temporal_plugins import export
from snn_temporal_plugins.training import MNIST

TRAINED = Path(__file__).parent / "trained"


def main() -> None:
    """Run a network on all test images."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    names = sorted(folder.name for folder in TRAINED.iterdir() if folder.is_dir())
    parser.add_argument("--network", default="mnist_stdbp", choices=names)
    parser.add_argument("--root", help="folder of MNIST")
    parser.add_argument("--download", action="store_true", help="fetch MNIST")
    arguments = parser.parse_args()

    # every byte is checked, and the golden cases are computed again
    bundle = export.read_bundle(TRAINED / arguments.network / "network.zip")
    print(f"{arguments.network}: {len(bundle.golden)} golden cases are right")

    data = MNIST(root=arguments.root, download=arguments.download)
    data.prepare_data()
    try:
        test = data.splits.test
    except FileNotFoundError as error:
        print(f"no images to run: {error}")
        return
    images = test.x.numpy().reshape(-1, *bundle.network.input_shape)
    labels = test.label.numpy()

    answers, counts = [], []
    for part in np.array_split(images, 20):
        ticks = export.encode_pixels(bundle.lut, part)  # bright is early
        emulation = export.emulate(bundle.network, ticks)
        decision = export.decode(bundle.network, emulation, bundle.decoding)
        answers.append(decision.label)
        counts.append(emulation.counts)
    right = np.concatenate(answers) == labels
    print(f"test accuracy {100 * right.mean():.2f} % of {len(labels):,} images")

    names = ("spikes", "operations", "updates")
    columns = ([getattr(part, name) for part in counts] for name in names)
    total = export.EventCounts(*map(np.concatenate, columns))
    print(f"per image: {total.packets.mean():,.0f} spikes, ", end="")
    print(f"{total.operations.sum(axis=1).mean():,.0f} additions")
    print(export.estimate_cost(bundle.network, total))


if __name__ == "__main__":
    main()
