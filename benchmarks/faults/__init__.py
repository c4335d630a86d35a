"""Planted faults: which verdicts are right, ours and those of the rules that others use.

Known faults are planted into many small networks. What is true of every unit is then decided by an oracle that knows
nothing of leaky: it perturbs each unit's incoming weights in float64 and looks at what changes. Only the public API of
leaky is used, and only by the modules that ask it for verdicts.
"""
