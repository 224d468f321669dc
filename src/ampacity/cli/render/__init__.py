"""How things look on a terminal: small functions from the nouns to rich's renderables."""
