"""What runs inside a rank. The core needs the standard library only; torch is imported when checkpoints are used."""

from .checkpoint import CheckpointError, checkpoint, checkpoint_due, restore
from .place import Info, incarnation, info
from .progress import report

__all__ = ["CheckpointError", "Info", "checkpoint", "checkpoint_due", "incarnation", "info", "report", "restore"]
