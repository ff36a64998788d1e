"""What the user has made in one viewer: masks, repairs, accepted ones, flags, batches."""
