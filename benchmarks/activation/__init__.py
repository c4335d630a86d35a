"""How fast the activation is: every row of README's performance section."""
