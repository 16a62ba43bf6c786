"""`edgekit bench`: load, latency, memory and operators of artifacts on this machine, with the machine's own state."""
