"""Examines the machine that a laboratory's rig runs on, and says what to do. `smets1 doctor` prints it.

In: the machine, its sticks, a home file where one is given. Out: `Finding`s, each one line and an advice.
Nothing is changed, but for a reset of each stick that is asked (one that a program has open is left alone).
Left out: whether a stick's radio reaches far enough; only silicon in its place tells.
"""

from smets1.tools.doctor.finding import Finding, State

__all__ = ["Finding", "State"]
