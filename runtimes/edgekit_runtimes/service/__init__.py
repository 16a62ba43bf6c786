"""`edgekit service`: a bundle that runs for months under systemd, and is replaced only by one that proves itself."""
