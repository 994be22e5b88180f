"""The programs: their flags, and what calls what. They stand above all rooms."""
