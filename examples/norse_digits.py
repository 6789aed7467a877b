"""Train a first-spike network on scikit-learn's digits, in Norse's manner.

Every pixel spikes once, brighter is earlier; the class is the output that spikes
first. Encoder, layers and decoder stand in one `SequentialState`. Then the same
weights run in Norse's step form, `Linear` and `ReLPSP`: the spike times are the same.

    python examples/norse_digits.py
"""

import norse.torch as norse
import torch
from sklearn.datasets import load_digits
from torch import nn

from snn_temporal_plugins.adapters import norse as tnorse

SEQ_LENGTH = 200  # inputs spike in the first half, the layers answer in all of it
DT = 2 / SEQ_LENGTH  # so the input window lasts 1 unit of time
EPOCHS, BATCH = 30, 128

torch.manual_seed(0)
torch.set_num_threads(1)

# data: 8x8 pixels of 0 to 16, and a fixed split
images, labels = (torch.as_tensor(part) for part in load_digits(return_X_y=True))
images = images.float() / 16
order = torch.randperm(len(images))
train, test = order[:1437], order[1437:]

p = tnorse.ReLPSPParameters(method="stdbp", slope_clip=5.0)
net = norse.SequentialState(
    tnorse.LatencyEncoder(SEQ_LENGTH),
    tnorse.ReLPSPLinear(64, 128, p, DT),
    tnorse.ReLPSPLinear(128, 10, p, DT, weight_mean=0.1),
    tnorse.SpikesToTimesDecoder(DT),
)
optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=0.0)
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)


@torch.no_grad()
def accuracy(network: nn.Module) -> float:
    """Share of test images whose label spikes first; ties and silence are wrong."""
    times, _ = network(images[test])
    return (tnorse.first_spike_class(times[0]) == labels[test]).double().mean().item()


for epoch in range(EPOCHS):
    for batch in train[torch.randperm(len(train))].split(BATCH):
        times, _ = net(images[batch])
        loss = tnorse.ttfs_cross_entropy(times[0], labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    schedule.step()
    if epoch % 5 == 4:
        print(f"epoch {epoch + 1:2d}  loss {loss:.3f}  test {accuracy(net):.1%}")

# the same network in the step form, between Norse's stock modules
steps = norse.SequentialState(
    tnorse.LatencyEncoder(SEQ_LENGTH),
    nn.Linear(64, 128, bias=False),
    tnorse.ReLPSP(p, DT),
    nn.Linear(128, 10, bias=False),
    tnorse.ReLPSP(p, DT),
    tnorse.SpikesToTimesDecoder(DT),
)
steps[1].weight, steps[3].weight = net[1].core.weight, net[2].core.weight
with torch.no_grad():
    same = (steps(images[test])[0] == net(images[test])[0]).double().mean()
print(f"step by step: test {accuracy(steps):.1%}, {same:.2%} of the spike times equal")
