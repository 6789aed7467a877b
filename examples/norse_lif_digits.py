"""Train LIF layers with TSSL-BP around a stock `norse.LIF`, on scikit-learn's digits.

A pixel is a constant input current, shown for 10 steps: no encoder. Ours and Norse's
layers stand in one `SequentialState`; Norse's neurons learn by TSSL-BP's surrogate.

    python examples/norse_lif_digits.py
"""

import norse.torch as norse
import torch
from sklearn.datasets import load_digits
from torch import nn

from snn_temporal_plugins import kernel_loss, summed_psp_class
from snn_temporal_plugins.adapters import norse as tnorse

NUM_STEPS = 10
EPOCHS, BATCH = 20, 64

torch.manual_seed(0)
torch.set_num_threads(1)

# data: 8x8 pixels of 0 to 16, and a fixed split
images, labels = (torch.as_tensor(part) for part in load_digits(return_X_y=True))
images = images.float() / 16
order = torch.randperm(len(images))
train, test = order[:1437], order[1437:]

tnorse.register()  # norse.LIFLinear etc. appear, and the method "tssl_bp"

p = norse.LIFWindowParameters(tau_mem=5.0, tau_syn=3.0, method="tssl_bp")
stock = norse.LIFParameters(method="tssl_bp", alpha=0.2, v_th=torch.tensor(0.3))
net = norse.SequentialState(
    norse.LIFLinear(64, 128, p, num_steps=NUM_STEPS),
    nn.Linear(128, 64),
    norse.LIF(stock, dt=0.002),
    norse.LIFLinear(64, 10, p),
    norse.PSPFilter(p.tau_syn),
)
optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3)
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)

for epoch in range(EPOCHS):
    for batch in train[torch.randperm(len(train))].split(BATCH):
        psp, _ = net(images[batch])  # (time, batch, 10)
        loss = kernel_loss(psp, labels[batch])  # label: every other step; rest: silent
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
    schedule.step()
    if epoch % 5 == 4:
        with torch.no_grad():
            psp, states = net(images[test])
        accuracy = (summed_psp_class(psp) == labels[test]).double().mean()
        print(f"epoch {epoch + 1:2d}  loss {loss:.1f}  test accuracy {accuracy:.1%}")

# the states lead on: the image is shown for 10 steps more
with torch.no_grad():
    more, _ = net(images[test], states)
accuracy = (summed_psp_class(torch.cat([psp, more])) == labels[test]).double().mean()
print(f"after {2 * NUM_STEPS} steps: test accuracy {accuracy:.1%}")
tnorse.unregister()
