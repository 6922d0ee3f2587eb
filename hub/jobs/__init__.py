"""Jobs from submission to end: versions, plans, reports, quotas."""
