"""What an edit and a result are worth: gates, comparisons, verdicts on hypotheses."""
