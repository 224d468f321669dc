"""The twin: the scheduler and the step of the live system, with another clock, the memory store and the fake driver.

There is no second scheduler here. What differs is passed in: the time, the ids of workloads, the pool in which drivers
are called, and machines that only pretend to run what they are given.
"""

from .jobs import JobOutcome, Run, SimulatedJob
from .simulation import Result, Simulation

__all__ = ["JobOutcome", "Result", "Run", "SimulatedJob", "Simulation"]
