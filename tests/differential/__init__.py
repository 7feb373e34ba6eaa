"""What go-spiffe and our core make of the same generated inputs, and every way in which they may disagree."""
