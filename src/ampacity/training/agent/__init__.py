"""The agent of one member of a training gang. Standard library only; run by path: ``python agent CONFIG``."""
