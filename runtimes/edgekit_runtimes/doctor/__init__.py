"""`edgekit doctor`: what a machine has, what is wrong with it, and how to mend it."""
