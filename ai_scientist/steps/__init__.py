"""What the loop does between two decisions: edits through the gates, runs, arms, pictures."""
