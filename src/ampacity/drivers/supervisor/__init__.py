"""What holds a member on a node: a warm parent, and one small supervisor per member forked from it.

Standard library only, Python 3.9+. It runs by path (``python -I -S parent.py FOLDER``) inside users' environments,
where Ampacity is not installed; the local driver imports its pieces that read and write the format on disk.
"""
