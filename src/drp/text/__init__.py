"""Reading traces as text: units, numbers, equations, answers, loops. Pure."""
