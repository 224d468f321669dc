"""What runs inside a training job: the agent over its ranks, and the calls that ranks make.

``launch`` is what the control plane uses; ``agent`` and ``rank`` run in the job's own environment, so they keep to the
standard library and to Python 3.9.
"""
