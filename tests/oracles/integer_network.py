"""The integer network one neuron, one tick and one spike at a time: SPEC.md, literally.

Layers are tuples: ("dense", weight, threshold), ("conv", weight, threshold, stride,
padding), ("pool", kernel, stride, padding); weights nested lists or arrays of integers.
"""

SILENT = 65535


def ramp(weights, ticks, threshold, num_ticks, floor=None):
    """First tick with V >= threshold, and the events on the way.

    `floor` saturates V from below, as narrow hardware does.
    """
    slope, potential, fired = 0, 0, SILENT
    slopes, operations, updates = [], 0, 0
    for tick in range(num_ticks):
        if fired == SILENT:
            potential += slope  # INTEGRATE
            updates += 1
            if floor is not None:
                potential = max(potential, floor)
            if potential >= threshold:  # FIRE
                fired = tick
        for weight, spike in zip(weights, ticks, strict=True):  # ACCUMULATE
            if spike == tick:
                slope += weight
                operations += 1
        slopes.append(slope)
    return fired, slopes, operations, updates


def step(weights, ticks, threshold, num_ticks, busy):
    """The same of a neuron whose V takes a spike's weight at once.

    `busy` are the ticks in which any spike reaches the neuron's layer.
    """
    potential, fired = 0, SILENT
    potentials, operations, updates = [], 0, 0
    for tick in range(num_ticks):
        for weight, spike in zip(weights, ticks, strict=True):  # ACCUMULATE
            if spike == tick:
                potential += weight
                operations += 1
                potentials.append(potential)
        if fired == SILENT and tick in busy:
            updates += 1
            if potential >= threshold:  # FIRE
                fired = tick
    return fired, potentials, operations, updates


def window(image, channel_count, y, x, kernel, stride, padding):
    """Ticks under a window of a (channel, row, column) image and whether inside."""
    ticks = []
    for i in range(channel_count):
        for a in range(kernel):
            for b in range(kernel):
                row, column = y * stride - padding + a, x * stride - padding + b
                inside = 0 <= row < len(image[i]) and 0 <= column < len(image[i][0])
                ticks.append(int(image[i][row][column]) if inside else SILENT)
    return ticks


def _size(size, kernel, stride, padding):
    return (size + 2 * padding - kernel) // stride + 1


def _flat(nested):
    if not hasattr(nested, "__len__"):
        return [int(nested)]
    return [value for part in nested for value in _flat(part)]


def run_layer(layer, ticks, num_ticks, response="ramp"):
    """Ticks after one layer (nested lists), and its operations and updates."""
    kind = layer[0]
    busy = set(_flat(ticks))

    def neuron(weights, source, threshold):
        if response == "step":
            return step(weights, source, threshold, num_ticks, busy)
        return ramp(weights, source, threshold, num_ticks)

    if kind == "dense":
        _, weight, threshold = layer
        source = _flat(ticks)
        results = [
            neuron(_flat(row), source, int(theta))
            for row, theta in zip(weight, threshold, strict=True)
        ]
        fired = [result[0] for result in results]
    else:
        if kind == "conv":
            _, weight, threshold, stride, padding = layer
            kernel, channels = len(weight[0][0]), len(weight)
        else:
            _, kernel, stride, padding = layer
            channels = len(ticks)
        rows = _size(len(ticks[0]), kernel, stride, padding)
        columns = _size(len(ticks[0][0]), kernel, stride, padding)
        fired, results = [], []
        for o in range(channels):
            image = []
            for y in range(rows):
                line = []
                for x in range(columns):
                    if kind == "pool":
                        view = window([ticks[o]], 1, y, x, kernel, stride, padding)
                        line.append(min(view))
                        continue
                    view = window(ticks, len(ticks), y, x, kernel, stride, padding)
                    theta = int(threshold[o])
                    results.append(neuron(_flat(weight[o]), view, theta))
                    line.append(results[-1][0])
                image.append(line)
            fired.append(image)
    return fired, sum(r[2] for r in results), sum(r[3] for r in results)


def run(layers, ticks, num_ticks, response="ramp"):
    """Ticks of each layer, spikes of input and layers, operations, updates."""
    outputs, operations, updates = [], [], []
    spikes = [sum(tick != SILENT for tick in _flat(ticks))]
    for layer in layers:
        ticks, additions, visits = run_layer(layer, ticks, num_ticks, response)
        outputs.append(ticks)
        spikes.append(sum(tick != SILENT for tick in _flat(ticks)))
        operations.append(additions)
        updates.append(visits)
    return outputs, spikes, operations, updates
