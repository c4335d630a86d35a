"""What scores of slopes × seeds allow to say, and how sure it is."""
