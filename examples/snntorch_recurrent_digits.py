"""Train a recurrent network with ST-RSBP on digits, in snnTorch's manner.

Pixels spike at random, brighter is more often; the output that spikes most is the
class. The layers take whole trains of 100 steps, and learn from their spike counts.
Then the trained network runs in a loop over steps, as a snnTorch user would write it:
it gives the very spikes of the window.

    python examples/snntorch_recurrent_digits.py
"""

import snntorch as snn
import torch
from sklearn.datasets import load_digits
from snntorch import utils

from snn_temporal_plugins import rate_encode, spike_count_class, spike_count_loss
from snn_temporal_plugins.adapters import snntorch as tsnn

NUM_STEPS = 100
EPOCHS, BATCH = 10, 32
COUNTS = {"desired_count": 15, "undesired_count": 2, "margin": 2}  # of 100 steps

torch.manual_seed(0)
torch.set_num_threads(1)

# data: 8x8 pixels of 0 to 16, and a fixed split
images, labels = (torch.as_tensor(part) for part in load_digits(return_X_y=True))
images = images.float() / 16
order = torch.randperm(len(images))
train, test = order[:1437], order[1437:]


def encode(batch: torch.Tensor) -> torch.Tensor:
    """Spikes (time, batch, 64), in at most 40 % of the steps."""
    return rate_encode(batch, NUM_STEPS, max_rate=0.4)


tsnn.register()  # snntorch.RecurrentLIF etc. appear, and utils.reset knows them


class Net(torch.nn.Module):
    """64 inputs, 64 neurons, 64 recurrent ones, 10 that inhibit each other."""

    def __init__(self) -> None:
        super().__init__()
        self.first = snn.SpikeTrainLinear(64, 64, threshold=10, output=False)
        self.recurrent = snn.RecurrentLIF(64, 64, threshold=10, output=False)
        self.last = snn.SpikeTrainLinear(
            64, 10, threshold=5, lateral=1.0, desired_count=15, output=False
        )

    def forward(
        self, spikes: torch.Tensor, label: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Spikes (time, batch, 64) to (time, batch, 10); the label only in training."""
        return self.last(self.recurrent(self.first(spikes)), label=label)


net = Net()
optimizer = torch.optim.AdamW(net.parameters(), lr=0.05, weight_decay=0.0)
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)

test_spikes = encode(images[test])
for epoch in range(EPOCHS):
    for batch in train[torch.randperm(len(train))].split(BATCH):
        spikes = net(encode(images[batch]), labels[batch])
        loss = spike_count_loss(spikes, labels[batch], **COUNTS)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    schedule.step()
    if epoch % 5 == 4:
        with torch.no_grad():
            spikes = net(test_spikes)
        accuracy = (spike_count_class(spikes) == labels[test]).double().mean()
        print(f"epoch {epoch + 1:2d}  loss {loss:5.2f}  test accuracy {accuracy:.1%}")

# the same network, one step at a time
utils.reset(net)
spk_rec = []
for step in test_spikes:
    spk1, _ = net.first.step(step)
    spk2, _ = net.recurrent.step(spk1)
    spk3, _ = net.last.step(spk2)
    spk_rec.append(spk3)
same = (torch.stack(spk_rec) == spikes).double().mean()
print(f"step by step: {same:.2%} of it the same")
tsnn.unregister()
