"""What a picture holds, in the words of the neurons that it moves."""
