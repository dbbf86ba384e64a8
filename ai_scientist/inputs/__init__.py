"""What a person brings: ideas, templates, prompts, settings; each checked where it enters."""
