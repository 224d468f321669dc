"""Queue files: the border where YAML becomes a queue tree and the scheduler's settings.

``parse_queue_file(text, file=…)`` reads the documents of a file that are about queues; ``refuse_unsound(read, nodes)``
holds them against what there is.
"""

from .parse import QueueFile, is_about_queues, parse_queue_file
from .sound import refuse_unsound

__all__ = ["QueueFile", "is_about_queues", "parse_queue_file", "refuse_unsound"]
