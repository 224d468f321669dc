"""What a training script calls: ``restore`` at the start, ``report`` each step, ``checkpoint`` now and then.

>>> from ampacity import train
>>> train.report(step=1, loss=2.5)      # outside a job this does nothing

Inside a job of Ampacity the run then survives crashes, and ``ampacity ps`` shows how far it is. Outside of one,
``report`` does nothing, and checkpoints go where ``AMPACITY_CHECKPOINT_DIR`` says, if it says anything.
"""

from ampacity.training.rank import (
    CheckpointError,
    Info,
    checkpoint,
    checkpoint_due,
    incarnation,
    info,
    report,
    restore,
)

__all__ = ["CheckpointError", "Info", "checkpoint", "checkpoint_due", "incarnation", "info", "report", "restore"]
