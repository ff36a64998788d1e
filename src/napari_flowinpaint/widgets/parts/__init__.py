"""Small things that several panels use: jobs, messages, tables, keys."""
