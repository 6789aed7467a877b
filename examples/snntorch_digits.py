"""Train a first-spike network on scikit-learn's digits, in snnTorch's manner.

Every pixel spikes once, brighter is earlier; the class is the output that spikes
first. The network is trained in the window form (whole trains in, whole trains out).
Then the same weights run in a loop over time steps, with `snn.ReLPSP` where a snnTorch
user would put `snn.Leaky`: the spikes are the same.

    python examples/snntorch_digits.py
"""

import snntorch as snn
import torch
from sklearn.datasets import load_digits
from torch import nn

from snn_temporal_plugins.adapters import snntorch as tsnn

NUM_STEPS = 200  # inputs spike in the first half, the layers answer in all of it
DT = 2 / NUM_STEPS  # so the input window lasts 1 unit of time
EPOCHS, BATCH = 30, 128

torch.manual_seed(0)
torch.set_num_threads(1)

# data: 8x8 pixels of 0 to 16, and a fixed split
images, labels = (torch.as_tensor(part) for part in load_digits(return_X_y=True))
images = images.float() / 16
order = torch.randperm(len(images))
train, test = order[:1437], order[1437:]

tsnn.register()  # snntorch.ReLPSPLinear etc. appear, and snntorch resets and exports us

options = {"dt": DT, "slope_clip": 5.0, "output": False}
net = nn.Sequential(
    snn.ReLPSPLinear(64, 128, **options),
    snn.ReLPSPLinear(128, 10, weight_mean=0.1, **options),
)
loss_fn = tsnn.ce_ttfs_loss(dt=DT)
optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=0.0)
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)

test_spikes = tsnn.latency(images[test], NUM_STEPS)
for epoch in range(EPOCHS):
    for batch in train[torch.randperm(len(train))].split(BATCH):
        spikes = net(tsnn.latency(images[batch], NUM_STEPS))
        loss = loss_fn(spikes, labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    schedule.step()
    if epoch % 5 == 4:
        with torch.no_grad():
            accuracy = tsnn.accuracy_ttfs(net(test_spikes), labels[test])
        print(f"epoch {epoch + 1:2d}  loss {loss:.3f}  test accuracy {accuracy:.1%}")

# the same network, one time step at a time
fc1, fc2 = nn.Linear(64, 128, bias=False), nn.Linear(128, 10, bias=False)
fc1.weight, fc2.weight = net[0].core.weight, net[1].core.weight
neuron1, neuron2 = snn.ReLPSP(dt=DT), snn.ReLPSP(dt=DT)
state1, state2 = neuron1.reset_mem(), neuron2.reset_mem()
spk_rec = []
with torch.no_grad():
    for step in range(NUM_STEPS):
        spk1, state1 = neuron1(fc1(test_spikes[step]), state1)
        spk2, state2 = neuron2(fc2(spk1), state2)
        spk_rec.append(spk2)
    same = (torch.stack(spk_rec) == net(test_spikes)).double().mean()

accuracy = tsnn.accuracy_ttfs(torch.stack(spk_rec), labels[test])
print(f"step by step: test accuracy {accuracy:.1%}, {same:.2%} of the ticks the same")
tsnn.unregister()
