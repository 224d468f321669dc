"""The gateway: one OpenAI-compatible endpoint in front of all models.

A process of its own (``python -m ampacity.serving.gateway``), an ``asyncio.Protocol`` with a C parser and no framework.
It reads the routing table and needs nothing else of the control plane.
"""
