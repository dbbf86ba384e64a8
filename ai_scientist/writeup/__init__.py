"""The paper: sections by the model, everything a reader must be able to trust by code."""
