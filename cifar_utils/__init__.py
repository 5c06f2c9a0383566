"""Data, models, training loops and a ledger of claims for five reports, rerun."""
