"""What a completion is paid: the library of functions and the wrapper that weighs them."""
