"""How well the rules find what happened, measured on data that nobody here made."""
