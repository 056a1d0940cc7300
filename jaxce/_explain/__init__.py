"""Accounts of a loss: `explain` on the host, `summarize` in compiled code."""
