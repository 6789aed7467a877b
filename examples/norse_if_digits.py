"""Train integrate-and-fire neurons with SSTDP on digits, in Norse's manner.

Every pixel spikes once on a whole tick, brighter is earlier; the class is the output
that spikes first. A convolution, an earliest-spike pool and a dense layer stand in one
`SequentialState`. The paper's loss looks at the spike times that the last layer gives
as its state: it moves the label's before the others', and wakes silent outputs. Then
the same weights run in Norse's step form, `Conv2d`, `Linear` and `IF`; there the
potential decides where two outputs spike in the same tick.

    python examples/norse_if_digits.py
"""

import norse.torch as norse
import torch
from sklearn.datasets import load_digits
from torch import nn

from snn_temporal_plugins import (
    first_spike_class,
    first_target,
    squared_time_loss,
    train_to_times,
)
from snn_temporal_plugins.adapters import norse as tnorse

SEQ_LENGTH = 32
EPOCHS, BATCH = 20, 64

torch.manual_seed(0)
torch.set_num_threads(1)

# data: 8x8 pixels of 0 to 16, and a fixed split
images, labels = (torch.as_tensor(part) for part in load_digits(return_X_y=True))
images = images.float().view(-1, 1, 8, 8) / 16
order = torch.randperm(len(images))
train, test = order[:1437], order[1437:]

p = tnorse.IFParameters(v_th=1.0, a=1.0, b=0.0)
net = norse.SequentialState(
    tnorse.LatencyEncoder(SEQ_LENGTH, window=SEQ_LENGTH - 1),  # neurons have no delay
    tnorse.IFConv2d(1, 48, 3, p, weight_mean=0.2),
    tnorse.EarliestSpikePool2d(2),
    nn.Flatten(2),
    tnorse.IFLinear(432, 10, p, weight_mean=0.02, weight_gain=1.0),
)
optimizer = torch.optim.AdamW(net.parameters(), lr=5e-3, weight_decay=0.0)
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)

for epoch in range(EPOCHS):
    for batch in train[torch.randperm(len(train))].split(BATCH):
        _, states = net(images[batch])
        times = states[-1].spike_times  # (batch, 10), ticks, inf = silent
        target = first_target(times, labels[batch], t_max=SEQ_LENGTH, gap=2.0)
        loss = squared_time_loss(times, target, t_max=SEQ_LENGTH)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    schedule.step()
    if epoch % 5 == 4:
        with torch.no_grad():
            spikes, states = net(images[test])
        predicted = first_spike_class(states[-1].spike_times)  # ties are wrong
        accuracy = (predicted == labels[test]).double().mean()
        print(f"epoch {epoch + 1:2d}  loss {loss:5.2f}  test accuracy {accuracy:.1%}")

# the same network in the step form, between Norse's stock modules
steps = norse.SequentialState(
    net[0],
    norse.Lift(nn.Conv2d(1, 48, 3, bias=False)),
    tnorse.IF(p),
    net[2],
    net[3],
    nn.Linear(432, 10, bias=False),
    tnorse.IF(p, record_states=True),
)
steps[1].lifted_module.weight, steps[5].weight = net[1].weight, net[4].weight
with torch.no_grad():
    step_spikes, states = steps(images[test])
same = (step_spikes == spikes).double().mean()
potential = (step_spikes * states[-1].v).sum(0)  # at the one tick of each spike
predicted = first_spike_class(train_to_times(step_spikes), potential)
accuracy = (predicted == labels[test]).double().mean()
print(f"step by step: test accuracy {accuracy:.1%}, {same:.2%} of the ticks the same")
