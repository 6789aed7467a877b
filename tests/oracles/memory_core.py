"""A core that knows nothing but its memory images, one neuron and one cycle at a time.

SPEC.md, "Memory images", literally: no NumPy, no network. Widths are those of the core,
because the images do not hold them.
"""

SILENT = 65535


def words_of(images, name, digits):
    """The words of one image, whose form is checked."""
    text = images[name].decode("ascii")
    assert text.endswith("\n")
    lines = text.removesuffix("\n").split("\n")
    assert all(len(line) == digits and line == line.lower() for line in lines)
    return [int(line, 16) for line in lines]


def signed(word, bits):
    return word - (1 << bits) if word >> (bits - 1) else word


class Core:
    """The images of all PEs, checked against the counts and sums of cfg.hex."""

    def __init__(self, images):
        cfg = words_of(images, "cfg.hex", 8)
        assert sum(cfg[:-1]) % (1 << 32) == cfg[-1]
        magic, version, self.num_ticks, count, self.num_pes, self.inputs, _ = cfg[:7]
        assert (magic, version) == (int.from_bytes(b"TTFS", "big"), 1)
        assert len(cfg) == 7 + 4 * count + 8 * self.num_pes + 1
        self.layers = [tuple(cfg[7 + 4 * k : 11 + 4 * k]) for k in range(count)]
        self.pes = []
        for pe in range(self.num_pes):
            stated = cfg[7 + 4 * count + 8 * pe :][:8]
            memories = {}
            for k, (name, digits) in enumerate(
                [("route", 24), ("wgt", 2), ("tgt", 8), ("thr", 8)]
            ):
                words = words_of(images, f"pe{pe}/{name}.hex", digits)
                number, checksum = stated[2 * k : 2 * k + 2]
                if number == 0:
                    assert words == [0]
                    words = []
                assert len(words) == number
                parts = sum(
                    sum(word >> shift & 0xFFFFFFFF for shift in (64, 32, 0))
                    for word in words
                )
                assert parts % (1 << 32) == checksum
                memories[name] = words
            self.pes.append(memories)
        names = {
            f"pe{pe}/{name}.hex"
            for pe in range(self.num_pes)
            for name in ("route", "wgt", "tgt", "thr")
        }
        assert set(images) == {"cfg.hex", *names}

    def own(self, layer, pe):
        """Neurons of a layer in a PE, and the place of the first in the layer."""
        _, neurons, length, _ = self.layers[layer]
        first = min(pe * length, neurons)
        return min(length, neurons - first), first

    def run(self, ticks, slope_bits=32, potential_bits=32):
        """Ticks of all neurons of each layer, and the cycles.

        Args:
            ticks: list of the tick of each input, 65535 for silence.
            slope_bits, potential_bits: widths of the registers.
        """
        floor, ceiling = -(1 << (potential_bits - 1)), (1 << (potential_bits - 1)) - 1
        steepest = (1 << (slope_bits - 1)) - 1
        state = [
            [
                [{"G": 0, "V": 0, "fired": SILENT} for _ in range(self.own(k, pe)[0])]
                for k in range(len(self.layers))
            ]
            for pe in range(self.num_pes)
        ]
        cycles = sum(length + 1 for _, _, length, _ in self.layers)

        def visit(k, ramp, tick):
            spikes = []
            for pe in range(self.num_pes):
                before = sum(self.own(j, pe)[0] for j in range(k))
                for local, neuron in enumerate(state[pe][k]):
                    if neuron["fired"] != SILENT:
                        continue
                    if ramp:
                        neuron["V"] = max(neuron["V"] + neuron["G"], floor)
                    assert neuron["V"] <= ceiling
                    if neuron["V"] >= self.pes[pe]["thr"][before + local]:
                        neuron["fired"] = tick
                        spikes.append(self.own(k, pe)[1] + local)
            return spikes

        def accumulate(k, ramp, dense, source):
            longest = 0
            for pe, memories in enumerate(self.pes):
                route = memories["route"][source]
                count, tgt_base, wgt_base = (
                    route >> shift & 0xFFFFFFFF for shift in (64, 32, 0)
                )
                longest = max(longest, count)
                for j in range(count):
                    weight = signed(memories["wgt"][wgt_base + j], 8)
                    local = j if dense else memories["tgt"][tgt_base + j]
                    neuron = state[pe][k][local]
                    if ramp:
                        neuron["G"] += weight
                        assert -steepest - 1 <= neuron["G"] <= steepest
                    else:
                        neuron["V"] += weight
                        # within one tick too, whatever the order
                        assert floor <= neuron["V"] <= ceiling
            return 2 + longest

        for tick in range(self.num_ticks):
            cycles += 2
            spikes = [i for i, spike in enumerate(ticks) if spike == tick]
            first_id = 0
            for k, (mode, _, length, dense) in enumerate(self.layers):
                cycles += length + 3
                arrived = [first_id + spike for spike in spikes]
                first_id += self.layers[k - 1][1] if k else self.inputs
                if mode == 0:
                    spikes = visit(k, True, tick)
                for source in arrived:
                    cycles += accumulate(k, mode == 0, dense, source)
                if mode == 1:
                    spikes = visit(k, False, tick)
            cycles += len(spikes)
        layers = [
            [neuron["fired"] for pe in range(self.num_pes) for neuron in state[pe][k]]
            for k in range(len(self.layers))
        ]
        return layers, cycles + 1
