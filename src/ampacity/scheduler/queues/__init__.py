"""Queues: the tree, what each part of it holds, and who may take how much. Small pure functions over amounts."""
