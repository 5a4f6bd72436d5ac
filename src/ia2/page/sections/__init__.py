"""The sections of the page: each a function of the same data that returns a section, or nothing."""
