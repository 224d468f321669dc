"""The API's endpoints by subject: in each module who answers them, and then their part of the table.

A handler calls one method of the plane and says what it answered. It decides nothing.
"""
