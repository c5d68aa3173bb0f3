"""Each prompt once, in generation and update; no work for rows that teach nothing."""
