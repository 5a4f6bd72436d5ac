"""Tables of results, as text, Markdown, HTML, LaTeX and CSV."""
