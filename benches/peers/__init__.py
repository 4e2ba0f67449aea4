"""What a user could pick instead: other packages do the same work in the same run, and all answers are compared."""
