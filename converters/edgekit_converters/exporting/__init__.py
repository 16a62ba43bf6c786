"""What a bundle's artifact becomes for programs that open no files: source text."""
