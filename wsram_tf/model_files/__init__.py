"""Model files of others: what they hold is checked before Keras opens them."""
