"""The requester: REST API, registry, auctions, results ledger."""
