"""What only a person calls: `python -m ai_scientist COMMAND`."""
