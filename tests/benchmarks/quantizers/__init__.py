"""int8 of edgekit against the quantizers it stands on: quality, seconds, memory and speed, all in one run."""
