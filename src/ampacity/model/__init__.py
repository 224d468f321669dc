"""The nouns of Ampacity and the pure rules about them. No I/O, no clock, no randomness."""
