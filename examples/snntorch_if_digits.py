"""Train integrate-and-fire neurons with SSTDP on digits, in snnTorch's manner.

Every pixel spikes once on a whole tick, brighter is earlier; the class is the output
that spikes first. The paper's loss looks at the spike times of the last layer: it moves
the label's before the others', and wakes outputs that are silent. Then the same weights
run in a loop over time steps, with `snn.IF` where a snnTorch user would put
`snn.Leaky`; there the potential decides where two outputs spike in the same tick.

    python examples/snntorch_if_digits.py
"""

import snntorch as snn
import torch
from sklearn.datasets import load_digits
from torch import nn

from snn_temporal_plugins import (
    first_spike_class,
    first_target,
    squared_time_loss,
    train_to_times,
)
from snn_temporal_plugins.adapters import snntorch as tsnn

NUM_STEPS = 64
EPOCHS, BATCH = 40, 64

torch.manual_seed(0)
torch.set_num_threads(1)

# data: 8x8 pixels of 0 to 16, and a fixed split
images, labels = (torch.as_tensor(part) for part in load_digits(return_X_y=True))
images = images.float() / 16
order = torch.randperm(len(images))
train, test = order[:1437], order[1437:]


def encode(batch: torch.Tensor) -> torch.Tensor:
    """Spikes over the whole window, since these neurons answer without delay."""
    return tsnn.latency(batch, NUM_STEPS, window=NUM_STEPS - 1)


tsnn.register()  # snntorch.IFLinear etc. appear, and snntorch resets and exports us

hidden = snn.IFLinear(64, 256, weight_mean=0.06, output=False)
last = snn.IFLinear(256, 10, weight_mean=0.02, weight_gain=1.0)
net = nn.Sequential(hidden, last)
optimizer = torch.optim.AdamW(net.parameters(), lr=5e-3, weight_decay=0.0)
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)

test_spikes = encode(images[test])
for epoch in range(EPOCHS):
    for batch in train[torch.randperm(len(train))].split(BATCH):
        _, times = net(encode(images[batch]))  # ticks, inf = silent
        target = first_target(times, labels[batch], t_max=NUM_STEPS, gap=3.0)
        loss = squared_time_loss(times, target, t_max=NUM_STEPS)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    schedule.step()
    if epoch % 5 == 4:
        with torch.no_grad():
            spikes, _ = net(test_spikes)
        accuracy = tsnn.accuracy_ttfs(spikes, labels[test])  # ties are wrong
        print(f"epoch {epoch + 1:2d}  loss {loss:5.2f}  test accuracy {accuracy:.1%}")

# the same network, one time step at a time
fc1, fc2 = nn.Linear(64, 256, bias=False), nn.Linear(256, 10, bias=False)
fc1.weight, fc2.weight = hidden.weight, last.weight
neuron1, neuron2 = snn.IF(), snn.IF()
state1, state2 = neuron1.reset_mem(), neuron2.reset_mem()
spk_rec, potential = [], 0.0
with torch.no_grad():
    for step in test_spikes:
        spk1, state1 = neuron1(fc1(step), state1)
        spk2, state2 = neuron2(fc2(spk1), state2)
        spk_rec.append(spk2)
        potential = potential + spk2 * state2.v  # at the one tick of the spike
    same = (torch.stack(spk_rec) == net(test_spikes)[0]).double().mean()

predicted = first_spike_class(train_to_times(torch.stack(spk_rec)), potential)
accuracy = (predicted == labels[test]).double().mean()
print(f"step by step: test accuracy {accuracy:.1%}, {same:.2%} of the ticks the same")
tsnn.unregister()
