"""notes.txt: facts by code, interpretation by the model."""
