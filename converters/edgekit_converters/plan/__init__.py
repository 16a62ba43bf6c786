"""Choose the variant of a model that fits a budget: convert what is promising, measure it, say why others lost."""
