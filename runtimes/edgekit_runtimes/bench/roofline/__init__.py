"""How far a measured latency is from what the machine could do.

The roofline model: no program is faster than its arithmetic at the machine's peak rate, nor than the bytes that it
must move at the machine's bandwidth (Williams, Waterman, Patterson: Roofline, CACM 52(4), 2009). A network whose
weights stay in a cache is held to that cache's bandwidth, not to the main memory's (Ilic, Pratas, Sousa: Cache-aware
Roofline Model, IEEE CAL 13(1), 2014).
"""
