"""Train LIF layers with TSSL-BP around a stock `snn.Leaky`, on scikit-learn's digits.

Pixels spike at random, brighter is more often. The first and the last layer take whole
trains and learn by TSSL-BP; between them stands a usual snnTorch loop over steps, whose
neurons learn by TSSL-BP's surrogate. Then the trained network reads a stream that is
cut into short windows: it gives the very spikes of one long window.

    python examples/snntorch_lif_digits.py
"""

import snntorch as snn
import torch
from sklearn.datasets import load_digits
from snntorch import spikegen, utils
from torch import nn

from snn_temporal_plugins import kernel_loss, summed_psp_class
from snn_temporal_plugins.adapters import snntorch as tsnn

NUM_STEPS = 20
EPOCHS, BATCH = 20, 64

torch.manual_seed(0)
torch.set_num_threads(1)

# data: 8x8 pixels of 0 to 16, and a fixed split
images, labels = (torch.as_tensor(part) for part in load_digits(return_X_y=True))
images = images.float() / 16
order = torch.randperm(len(images))
train, test = order[:1437], order[1437:]

tsnn.register()  # snntorch.LIFLinear etc. appear, and utils.reset knows them


class Net(nn.Module):
    """64 inputs, 128 of our neurons, 64 of snnTorch's, 10 of ours."""

    def __init__(self) -> None:
        super().__init__()
        self.first = snn.LIFLinear(64, 128, output=False)
        self.fc = nn.Linear(128, 64)
        self.leaky = snn.Leaky(
            beta=0.8, spike_grad=snn.surrogate.tssl_bp(), init_hidden=True
        )
        self.last = snn.LIFLinear(64, 10)

    def forward(self, spikes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Spikes (time, batch, 64) to spikes and PSPs (time, batch, 10)."""
        current = self.fc(self.first(spikes))
        hidden = [self.leaky(step) for step in current.unbind(0)]
        return self.last(torch.stack(hidden))


net = Net()
optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3)
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)

test_spikes = spikegen.rate(images[test], num_steps=NUM_STEPS)
for epoch in range(EPOCHS):
    for batch in train[torch.randperm(len(train))].split(BATCH):
        utils.reset(net)
        _, psp = net(spikegen.rate(images[batch], num_steps=NUM_STEPS))
        loss = kernel_loss(psp, labels[batch])  # label: every other step; rest: silent
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
    schedule.step()
    if epoch % 5 == 4:
        utils.reset(net)
        with torch.no_grad():
            spikes, psp = net(test_spikes)
        accuracy = (summed_psp_class(psp) == labels[test]).double().mean()
        print(f"epoch {epoch + 1:2d}  loss {loss:.1f}  test accuracy {accuracy:.1%}")

# the same network on a stream, in windows of 5 steps
net.first.stream = net.last.stream = True
utils.reset(net)
with torch.no_grad():
    stream = torch.cat([net(window)[0] for window in test_spikes.split(5)])
print(f"in windows of 5 steps: {(stream == spikes).double().mean():.2%} of it the same")
tsnn.unregister()
