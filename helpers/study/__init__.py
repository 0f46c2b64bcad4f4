"""From configs to verdicts: RunConfig, records, sweeps, cost, statistics, claims, report."""
