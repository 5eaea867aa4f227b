"""Named benchmarks: ours, the stock peer and the raw floor in one run on the local cloud."""
