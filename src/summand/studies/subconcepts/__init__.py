"""Whether a neuron is about one thing, and whether its pairs with heads tell its meanings apart."""
