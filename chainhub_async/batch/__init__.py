"""Batches: any number of calls, each paid for at most once, recorded in a ledger and resumable."""
