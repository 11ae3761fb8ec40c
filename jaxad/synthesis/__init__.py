"""Synthetic anomalies: normal images damaged within compiled functions, one key for each."""
