"""From invitation to signed order: auctions, ranking, hooks on bids."""
