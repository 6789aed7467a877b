"""Train a recurrent network with ST-RSBP on digits, in Norse's manner.

Pixels spike at random, brighter is more often; the output that spikes most is the
class. The layers stand in a `SequentialState`, take whole trains of 100 steps and learn
from their spike counts. Their states lead on: the images are shown for longer.

    python examples/norse_recurrent_digits.py
"""

import norse.torch as norse
import torch
from sklearn.datasets import load_digits

from snn_temporal_plugins import rate_encode, spike_count_class, spike_count_loss
from snn_temporal_plugins.adapters import norse as tnorse

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


tnorse.register()  # norse.RecurrentLIF etc. appear

p = norse.SpikeTrainParameters(tau_mem=64, tau_syn=8, v_th=10, method="st_rsbp")
hidden = norse.SequentialState(
    norse.SpikeTrainLinear(64, 64, p),
    norse.RecurrentLIF(64, 64, p),
)
# apart from the others, because in training it is told the labels
last = norse.SpikeTrainLinear(64, 10, p._replace(v_th=5), lateral=1.0, desired_count=15)
weights = [*hidden.parameters(), *last.parameters()]
optimizer = torch.optim.AdamW(weights, lr=0.05, weight_decay=0.0)
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)

test_spikes = encode(images[test])
for epoch in range(EPOCHS):
    for batch in train[torch.randperm(len(train))].split(BATCH):
        z, _ = hidden(encode(images[batch]))
        z, _ = last(z, label=labels[batch])
        loss = spike_count_loss(z, labels[batch], **COUNTS)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    schedule.step()
    if epoch % 5 == 4:
        with torch.no_grad():
            z, states = hidden(test_spikes)
            z, state = last(z)
        accuracy = (spike_count_class(z) == labels[test]).double().mean()
        print(f"epoch {epoch + 1:2d}  loss {loss:5.2f}  test accuracy {accuracy:.1%}")

# the states lead on: the images are shown for 100 steps more
with torch.no_grad():
    more, states = hidden(encode(images[test]), states)
    more, state = last(more, state)
accuracy = (spike_count_class(torch.cat([z, more])) == labels[test]).double().mean()
print(f"after {2 * NUM_STEPS} steps: test accuracy {accuracy:.1%}")
tnorse.unregister()
