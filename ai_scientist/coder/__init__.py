"""The coder: from an instruction and files to new contents, refused or applied block by block."""
