"""Secrets: values that jobs need and nobody else may read. Sealed at rest, given to attempts in memory."""
