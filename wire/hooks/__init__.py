"""Owner's hooks as node and hub ask them: one question as JSON, a program or a URL, one answer, and limits on all."""
