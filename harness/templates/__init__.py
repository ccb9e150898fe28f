"""The files that ``ebmark new`` writes, as Jinja templates."""
