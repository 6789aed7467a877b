"""The plugins in each host's own manners: `adapters.snntorch` and `adapters.norse`.

Import the module of your host; neither is imported here, because each needs its host
installed. Both offer two forms of the same neuron: a *window form* that takes whole
spike trains (time, batch, ...) and a *step form* for a loop over ticks.
"""
