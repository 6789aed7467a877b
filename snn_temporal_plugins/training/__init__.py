"""Training with Lightning: the module, the data modules and the callbacks."""

try:
    import lightning as _lightning  # noqa: F401
except ImportError as error:
    raise ImportError(
        f"snn_temporal_plugins.training needs Lightning ({error}): "
        f"pip install 'snn-temporal-plugins[lightning]'"
    ) from error

from snn_temporal_plugins.training.batches import TensorBatches
from snn_temporal_plugins.training.callbacks import SpikePictures, SpikeStatistics
from snn_temporal_plugins.training.cifar10 import CIFAR10
from snn_temporal_plugins.training.data import Digits
from snn_temporal_plugins.training.japanese_vowels import JapaneseVowels
from snn_temporal_plugins.training.mnist import MNIST, FashionMNIST
from snn_temporal_plugins.training.module import Prediction, TemporalClassifier
from snn_temporal_plugins.training.n_tidigits import NTIDIGITS
from snn_temporal_plugins.training.nmnist import NMNIST
from snn_temporal_plugins.training.quantisation_aware import QuantisationAware
from snn_temporal_plugins.training.recording import (
    SpikeTrains,
    record_spike_times,
    record_spike_trains,
)
from snn_temporal_plugins.training.revival import DeadNeuronRevival
from snn_temporal_plugins.training.rounding_accuracy import (
    quantisation_sweep,
    rounding_errors,
)
from snn_temporal_plugins.training.spike_count import (
    CountPrediction,
    SpikeCountClassifier,
)
from snn_temporal_plugins.training.spike_train import (
    SpikeTrainClassifier,
    TrainPrediction,
)
from snn_temporal_plugins.training.spoken_digits import SpokenDigits
from snn_temporal_plugins.training.ti46 import TI46
from snn_temporal_plugins.training.tick_classifier import TickClassifier, TickOutput
from snn_temporal_plugins.training.yin_yang import YinYang

__all__ = [
    "TemporalClassifier",
    "Prediction",
    "TickClassifier",
    "TickOutput",
    "SpikeTrainClassifier",
    "TrainPrediction",
    "SpikeCountClassifier",
    "CountPrediction",
    "Digits",
    "YinYang",
    "MNIST",
    "FashionMNIST",
    "NMNIST",
    "CIFAR10",
    "SpokenDigits",
    "JapaneseVowels",
    "NTIDIGITS",
    "TI46",
    "TensorBatches",
    "SpikeStatistics",
    "DeadNeuronRevival",
    "QuantisationAware",
    "SpikePictures",
    "rounding_errors",
    "quantisation_sweep",
    "record_spike_times",
    "record_spike_trains",
    "SpikeTrains",
]
