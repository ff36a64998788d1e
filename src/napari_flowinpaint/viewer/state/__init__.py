"""What the user has made so far in one viewer: masks, repairs under review, accepted ones, flags, batches."""
