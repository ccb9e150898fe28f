"""Training methods: one file each, citation, equation, code in the equation's letters."""
